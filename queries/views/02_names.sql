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
