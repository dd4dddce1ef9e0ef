-- How a tensor begins, by the layer's config.

-- What the layer's config says of how a tensor begins, as JSON: an object with class_name and config, or a word.
CREATE OR REPLACE MACRO initializer(layer_config, layer_class, role) AS
    CASE WHEN json_valid(layer_config) THEN json_extract(layer_config, '$.' || CASE
        WHEN role = 'kernel' AND starts_with(layer_class, 'DepthwiseConv') THEN 'depthwise'
        WHEN role = 'recurrent_bias' THEN 'bias'
        WHEN role IN ('depthwise_kernel', 'pointwise_kernel', 'recurrent_kernel') THEN replace(role, '_kernel', '')
        ELSE role END || '_initializer') END;

-- Its class without case and underscores, such as glorotuniform.
CREATE OR REPLACE MACRO initializer_class(initializer) AS replace(lower(coalesce(
    json_extract_string(initializer, '$.class_name'), json_extract_string(initializer, '$'))), '_', '');
