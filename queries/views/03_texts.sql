-- How queries write numbers.

-- The first few of a list of units, as text.
CREATE OR REPLACE MACRO unit_list(which) AS
    array_to_string(which[:8], ', ') || CASE WHEN len(which) > 8 THEN ', ...' ELSE '' END;

-- A number and its noun: 1 value, 12 values.
CREATE OR REPLACE MACRO counts(number, noun) AS number || ' ' || noun || CASE number WHEN 1 THEN '' ELSE 's' END;

-- A figure to three digits.
CREATE OR REPLACE MACRO figure_text(figure) AS printf('%.3g', figure::DOUBLE);
