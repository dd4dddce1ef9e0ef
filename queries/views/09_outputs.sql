-- Outputs of layers on given inputs: rows of kind 'activation', whose first axis counts the inputs.

-- The units, from 0, that give the same for every input: every value of a unit has its largest magnitude, and the sample
-- has no two signs of it. units, value_count, sample: the columns. Units are the last axes, so a place tells its unit.
CREATE OR REPLACE MACRO idle_units(units, value_count, sample) AS list_filter(range(len(units)), lambda unit:
    units[unit + 1].l2_norm >= units[unit + 1].abs_max * sqrt(value_count / len(units)) * (1 - 1e-6)
    AND value_count > len(units) AND (units[unit + 1].abs_max = 0 OR len(list_distinct([sign(value) for value in
        list_filter(sample.value, lambda value, place: sample.index[place] % len(units) = unit)])) <= 1));

-- Those that give zero for every input.
CREATE OR REPLACE MACRO dead_units(units) AS
    list_filter(range(len(units)), lambda unit: units[unit + 1].zero_fraction = 1);
