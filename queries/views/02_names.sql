-- What queries ask of names, roles and shapes.

-- Whether a name is asked for: by itself, by a pattern with * and ?, or by several of these with chr(31) between them,
-- of which those that begin with ! leave out what they fit.
CREATE OR REPLACE MACRO asked_for(name, pattern) AS
    name = pattern
    OR CASE WHEN NOT starts_with(pattern, '!') AND NOT contains(pattern, chr(31)) THEN name GLOB pattern
        ELSE (
            list_bool_and(list_transform(string_split(pattern, chr(31)), lambda each: starts_with(each, '!')))
            OR list_bool_or(list_transform(
                string_split(pattern, chr(31)),
                lambda each: NOT starts_with(each, '!') AND (name = each OR name GLOB each)))
        ) AND NOT list_bool_or(list_transform(
            string_split(pattern, chr(31)),
            lambda each: starts_with(each, '!') AND (name = each[2:] OR name GLOB each[2:])))
        END;

-- A shape as text, such as 3x3x8x16.
CREATE OR REPLACE MACRO shape_text(shape) AS
    CASE WHEN len(shape) = 0 THEN 'scalar' ELSE array_to_string(shape, 'x') END;

-- The layer that a slot belongs to: the slot without its last part, which is the role.
CREATE OR REPLACE MACRO layer_of_slot(slot) AS regexp_replace(slot, '/[^/]*$', '');

-- How many inputs a kernel has. The canonical layout is (..., inputs, outputs), and (..., outputs, inputs) for a
-- transposed convolution.
CREATE OR REPLACE MACRO input_count(layer_class, role, canonical_shape) AS
    CASE WHEN is_kernel(role) AND len(canonical_shape) >= 2
        THEN canonical_shape[CASE WHEN layer_class LIKE '%Transpose' THEN -1 ELSE -2 END] END;

-- Whether a tensor holds what a layer multiplies by: a kernel, or a table of numbers whose role nobody told.
CREATE OR REPLACE MACRO may_be_kernel(role, canonical_shape, dtype) AS is_kernel(role)
    OR role = 'unknown' AND len(canonical_shape) >= 2 AND (starts_with(dtype, 'float') OR dtype = 'bfloat16');

-- Whether a tensor whose role nobody told is named as one that a layer multiplies by: a table of numbers may be data,
-- but what is called a weight is none. The direction of a normalised weight (weight_v) is of any length.
CREATE OR REPLACE MACRO named_weight(role, tensor, canonical_shape, dtype) AS role = 'unknown'
    AND may_be_kernel(role, canonical_shape, dtype)
    AND regexp_matches(lower(tensor), '(^|[./_])(weight|kernel|w|lora_[ab])([./](weight|default))*(:0)?$');

-- Such a tensor that cannot be an embedding, whose scale is its own.
CREATE OR REPLACE MACRO named_projection(tensor) AS
    regexp_matches(lower(tensor), '(proj|qkv|query|key|value|linear|fc[0-9]*|dense|conv[0-9]*|lora_[ab])[._/]?(weight|kernel|w)?([./](weight|default))*(:0)?$');

-- What a layer's config says, and NULL where it is none.
CREATE OR REPLACE MACRO config_of(layer_config) AS CASE WHEN json_valid(layer_config) THEN layer_config END;

-- The layers with weights that take what a layer gives; NULL where the file does not tell, or the model's output is one.
CREATE OR REPLACE MACRO fed_layers(layer_config) AS
    CASE WHEN json_array_length(config_of(layer_config), '$.feeds') > 0
        AND len(list_filter(json_extract_string(config_of(layer_config), '$.feeds[*].layer'), lambda each: each IS NULL)) = 0
        THEN list_distinct(json_extract_string(config_of(layer_config), '$.feeds[*].layer')) END;

-- The activation of a layer, in small letters: its own, or that which all that it feeds is given through first.
CREATE OR REPLACE MACRO activation_of(layer_config) AS
    CASE WHEN coalesce(lower(json_extract_string(config_of(layer_config), '$.activation')), 'linear') <> 'linear'
            OR coalesce(len(list_distinct(json_extract_string(config_of(layer_config), '$.feeds[*].through[0]'))), 0) <> 1
            OR len(json_extract_string(config_of(layer_config), '$.feeds[*].through[0]'))
                < json_array_length(config_of(layer_config), '$.feeds')
        THEN lower(json_extract_string(config_of(layer_config), '$.activation'))
        ELSE json_extract_string(config_of(layer_config), '$.feeds[0].through[0]') END;
