# ruff: noqa: E501  a statement a line
"""Statements that try to read, change, load or send what they should not.

`{secret}` is a text file, `{parquet}`, `{csv}` and `{json}` are files with the secret in them, `{link}` leads to it;
`{table}` is the table of the session, `{labels}` a file given with it, `{folder}` the folder of all, and `{name}` its
name; `{new}` does not exist, nor may it ever.
"""

from __future__ import annotations

WRITING = r"""
COPY weights TO '{new}'
COPY weights TO '{table}'
COPY weights TO '{table}' (FORMAT parquet)
COPY (SELECT 1) TO '{labels}' (FORMAT csv)
COPY labels TO '{labels}'
COPY (SELECT 1) TO '{table}' (FORMAT parquet, OVERWRITE true)
COPY (SELECT 1 AS a, 2 AS b) TO '{folder}' (FORMAT csv, PARTITION_BY (a), OVERWRITE_OR_IGNORE)
COPY weights FROM '{table}'
COPY FROM DATABASE memory TO other
EXPLAIN COPY (SELECT 1) TO '{table}'
EXPLAIN ANALYZE COPY (SELECT 1) TO '{table}' (FORMAT parquet)
EXPLAIN ANALYZE COPY (SELECT 1) TO '{labels}'
EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{labels}'
EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{labels}'
EXPLAIN EXPLAIN ANALYZE COPY (SELECT 1) TO '{labels}'
EXPLAIN ANALYZE EXPLAIN ANALYZE COPY (SELECT 1) TO '{labels}'
explain/**/analyze/**/copy (SELECT 1) TO '{labels}'
-- EXPLAIN SELECT 1 /*\nEXPLAIN ANALYZE COPY (SELECT 1) TO '{labels}' --*/
/* SELECT */ COPY (SELECT 1) TO '{labels}'
-- SELECT 1\nCOPY (SELECT 1) TO '{labels}'
;COPY (SELECT 1) TO '{labels}'
SELECT 1; COPY (SELECT 1) TO '{labels}'
SELECT 1;;COPY (SELECT 1) TO '{labels}'
SELECT ';' AS a; COPY (SELECT 1) TO '{labels}'
SELECT $$;$$; COPY (SELECT 1) TO '{labels}'
SELECT 1 /* ; */ ; /* */ COPY (SELECT 1) TO '{labels}'
SELECT 1\u00a0;\u00a0COPY (SELECT 1) TO '{labels}'
SELECT 1\u2028; COPY (SELECT 1) TO '{labels}'
SELECT 1\0; COPY (SELECT 1) TO '{labels}'
\ufeffCOPY (SELECT 1) TO '{labels}'
\ud800COPY (SELECT 1) TO '{labels}'
PIVOT weights ON model USING count(*); COPY (SELECT 1) TO '{labels}'
COPY (PIVOT weights ON model USING count(*)) TO '{labels}'
WITH a AS (COPY (SELECT 1) TO '{labels}') SELECT * FROM a
WITH a AS (COPY (SELECT 1) TO '{labels}' (USE_TMP_FILE false)) SELECT * FROM a
WITH a AS (COPY weights TO '{table}' (FORMAT parquet, USE_TMP_FILE false)) FROM a
WITH a AS (copy weights TO '{table}' (FORMAT parquet, USE_TMP_FILE false)) PIVOT a ON a USING count(*)
WITH a AS MATERIALIZED (/* */COPY (SELECT 1) TO '{labels}' (USE_TMP_FILE false)) SELECT 1 FROM a
WITH b AS (SELECT 1),a AS(COPY (FROM b) TO '{labels}' (USE_TMP_FILE false, RETURN_FILES)) TABLE a
EXPLAIN ANALYZE WITH a AS (COPY (SELECT 1) TO '{labels}' (USE_TMP_FILE false)) FROM a
SELECT * FROM query('WITH a AS (COPY (SELECT 1) TO ''{labels}'' (USE_TMP_FILE false)) FROM a')
FROM "query"('WITH a AS (CO' || 'PY (SELECT 1) TO ''{labels}'' (USE_TMP_FILE false)) FROM a')
FROM system.main.Query /* */ ('WITH a AS (CO' || 'PY (SELECT 1) TO ''{labels}'' (USE_TMP_FILE false)) FROM a')
FROM json_execute_serialized_sql(json_serialize_sql('WITH a AS (COPY (SELECT 1) TO ''{labels}'' (USE_TMP_FILE false)) FROM a'))
FROM "JSON_execute_serialized_sql"(json_serialize_sql('WITH a AS (COPY (SELECT 1) TO ''{labels}'' (USE_TMP_FILE false)) FROM a'))
FROM query('FROM json_execute_serialized_sql(json_serialize_sql(''WITH a AS (COPY (SELECT 1) TO {labels} (USE_TMP_FILE false)) FROM a''))')
FROM query_table('json_execute_serialized_sql(json_serialize_sql(''WITH a AS (COPY (SELECT 1) TO {labels} (USE_TMP_FILE false)) FROM a''))')
SELECT * FROM (COPY (SELECT 1) TO '{labels}')
PIVOT (COPY (SELECT 1) TO '{labels}') ON model USING count(*)
EXPORT DATABASE '{new}'
EXPORT DATABASE '{folder}' (FORMAT parquet)
EXPLAIN ANALYZE EXPORT DATABASE '{new}'
SELECT * FROM query('COPY (SELECT 1) TO ''{labels}''')
PREPARE p AS COPY (SELECT 1) TO '{labels}'
EXECUTE p
EXECUTE IMMEDIATE 'COPY (SELECT 1) TO ''{labels}'''
CREATE TABLE a AS SELECT 1
CREATE TABLE a AS SELECT 1; SELECT 1
CREATE TYPE a AS ENUM ('x'); SELECT 1
CREATE TEMP TABLE a AS SELECT 1
CREATE OR REPLACE VIEW weights AS SELECT 1; SELECT 1
CREATE MACRO asked_for(a, b) AS true; SELECT 1
CREATE SCHEMA a
CREATE SEQUENCE a
CREATE INDEX a ON weights (model)
DROP VIEW weights
ALTER VIEW weights RENAME TO a
COMMENT ON VIEW weights IS 'x'
INSERT INTO weights SELECT 1
INSERT INTO labels VALUES (1, 2)
INSERT INTO '{table}' SELECT 1
INSERT INTO weights SELECT 1 RETURNING *
WITH a AS (INSERT INTO weights SELECT 1 RETURNING *) SELECT * FROM a
WITH a AS (DELETE FROM weights RETURNING *) SELECT * FROM a
WITH a AS MATERIALIZED (UPDATE weights SET model = 'x' RETURNING *) FROM a
MERGE INTO weights USING labels ON true WHEN MATCHED THEN DELETE
UPDATE weights SET model = 'x'
DELETE FROM weights
TRUNCATE weights
VACUUM
ANALYZE
CHECKPOINT
FORCE CHECKPOINT
CALL force_checkpoint()
CALL checkpoint()
CALL enable_logging()
CALL enable_logging(storage = 'file', storage_path = '{new}')
CALL enable_profiling(save_location = '{new}')
CALL create_external_resource('a', 'b')
SELECT * FROM enable_logging(storage = 'file', storage_path = '{new}')
SELECT * FROM enable_logging('QueryLog', storage = 'file', storage_config = {{'path': '{new}'}})
SELECT * FROM enable_profiling(format = 'json', save_location = '{new}')
SELECT * FROM enable_profiling(save_location := '{new}')
SELECT * FROM disable_logging()
SELECT * FROM create_external_resource('a', 'b')
SELECT * FROM register_external_resource('a', 'b')
SELECT * FROM register_external_resource_type('a', 'b')
"""

LOADING = r"""
INSTALL httpfs
INSTALL '{secret}'
FORCE INSTALL spatial FROM community
LOAD httpfs
LOAD '{secret}'
UPDATE EXTENSIONS
ATTACH '{new}' AS other
ATTACH '{folder}/other.duckdb' AS other (READ_ONLY)
ATTACH ':memory:' AS other
ATTACH 'https://127.0.0.1:9/a.duckdb'
DETACH memory
USE memory
IMPORT DATABASE '{folder}'
IMPORT DATABASE '{folder}/dump'
PRAGMA import_database('{folder}/dump')
PRAGMA copy_database('memory', 'other')
PRAGMA enable_profiling = 'json'
PRAGMA profiling_output = '{new}'
PRAGMA log_query_path = '{new}'
PRAGMA enable_logging
PRAGMA force_checkpoint
PRAGMA version
PRAGMA json_execute_serialized_sql('{{}}')
SET enable_external_access = true
SET allowed_paths = ['{secret}']
SET GLOBAL lock_configuration = false
SET VARIABLE weights_parquet = ['{parquet}']
SET VARIABLE weights_parquet = ['{parquet}']; FROM tensors
SET python_enable_replacements = true
SET temp_directory = '{folder}'
SET log_query_path = '{new}'
SET profiling_output = '{new}'
SET SESSION home_directory = '{folder}'
RESET lock_configuration
RESET VARIABLE weights_parquet
SELECT set_config('enable_external_access', 'true', false)
BEGIN
COMMIT
CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')
CREATE SECRET a (TYPE s3, KEY_ID 'a', SECRET 'b'); SELECT 1
CREATE PERSISTENT SECRET (TYPE http, BEARER_TOKEN 'a')
DROP SECRET a
CREATE FUNCTION f() AS TABLE SELECT * FROM read_text('{secret}')
"""

HARMLESS = r"""
SELECT * FROM truncate_duckdb_logs()
SELECT write_log('x', level := 'error')
SELECT * FROM force_checkpoint()
SELECT * FROM checkpoint()
SELECT json_serialize_plan('WITH a AS (COPY (SELECT 1) TO ''{labels}'' (USE_TMP_FILE false)) FROM a')
SELECT json_serialize_sql('WITH a AS (COPY (SELECT 1) TO ''{labels}'' (USE_TMP_FILE false)) FROM a')
WITH a AS (TRUNCATE weights) FROM a
SELECT setseed(0.5)
SELECT nextval('a')
"""
"""They may run: what they change is in the session's memory, if anything."""

READING = r"""
SELECT * FROM read_text('{secret}')
SELECT content FROM read_blob('{secret}')
SELECT * FROM read_text(['{table}', '{secret}'])
SELECT * FROM read_text('{folder}/*')
SELECT * FROM read_text('{folder}/**')
SELECT * FROM read_text('secret.txt')
SELECT * FROM read_text('./secret.txt')
SELECT * FROM read_text('../{name}/secret.txt')
SELECT * FROM read_text('{table}/../secret.txt')
SELECT * FROM read_text('{labels}/../secret.txt')
SELECT * FROM read_text('file://{secret}')
SELECT * FROM read_text('file:{secret}')
SELECT * FROM read_text('FILE://localhost{secret}')
SELECT * FROM read_text('/proc/self/environ')
SELECT * FROM read_text('/proc/self/fd/0')
SELECT * FROM read_text('/proc/self/root{secret}')
SELECT * FROM read_text('{link}')
SELECT * FROM read_text('~/secret.txt')
SELECT * FROM read_text('//{secret}')
SELECT * FROM read_csv('{csv}')
SELECT * FROM read_csv_auto('{secret}', header = false)
SELECT * FROM read_csv(['{labels}', '{csv}'], union_by_name = true)
SELECT * FROM read_csv('{secret}', sep = '|', columns = {{'a': 'VARCHAR'}})
SELECT * FROM read_single_csv_file('{csv}')
SELECT * FROM sniff_csv('{csv}')
SELECT * FROM read_json('{json}')
SELECT * FROM read_json_auto('{json}')
SELECT * FROM read_json_objects('{json}')
SELECT * FROM read_ndjson('{json}')
SELECT * FROM read_ndjson_objects('{json}')
SELECT * FROM read_parquet('{parquet}')
SELECT * FROM read_parquet(['{table}', '{parquet}'], union_by_name = true)
SELECT * FROM read_parquet('{folder}/*.parquet', union_by_name = true)
SELECT * FROM parquet_scan('{parquet}')
SELECT * FROM parquet_metadata('{parquet}')
SELECT * FROM parquet_kv_metadata('{parquet}')
SELECT * FROM parquet_schema('{parquet}')
SELECT * FROM parquet_file_metadata('{parquet}')
SELECT * FROM parquet_full_metadata('{parquet}')
SELECT * FROM parquet_bloom_probe('{parquet}', 'a', 'b')
SELECT * FROM read_duckdb('{folder}/other.duckdb')
SELECT * FROM '{secret}'
SELECT * FROM '{csv}'
SELECT * FROM '{parquet}'
SELECT * FROM '{folder}/*.csv'
SELECT * FROM "{csv}"
SELECT * FROM '{folder}/other.duckdb'
FROM '{json}'
TABLE '{csv}'
DESCRIBE '{csv}'
SUMMARIZE '{parquet}'
SUMMARIZE FROM '{csv}'
DESCRIBE FROM '{parquet}'
EXPLAIN ANALYZE FROM '{csv}'
PIVOT '{csv}' ON secret
PIVOT (FROM '{csv}') ON secret USING count(*)
UNPIVOT '{csv}' ON secret
SELECT * FROM glob('{folder}/*')
SELECT * FROM glob('*')
SELECT * FROM glob('{folder}/s?cret.*')
SELECT * FROM query('FROM read_text(''{secret}'')')
SELECT * FROM query_table('{csv}')
SELECT * FROM query_table(['{parquet}'])
FROM query('SELECT content FROM read_blob(''{secret}'')')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''{secret}'')'))
SELECT json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''{secret}'')'))
SELECT json_serialize_plan('SELECT * FROM read_text(''{secret}'')')
SELECT (SELECT content FROM read_text('{secret}'))
WITH a AS (FROM read_text('{secret}')) FROM a
WITH RECURSIVE a AS (SELECT content FROM read_text('{secret}') UNION ALL SELECT * FROM a WHERE false) FROM a
SELECT * FROM weights, LATERAL (FROM read_text('{secret}'))
SELECT * FROM weights WHERE model IN (SELECT content FROM read_text('{secret}'))
SELECT list_transform([1], lambda x: (SELECT content FROM read_text('{secret}')))
SELECT * FROM weights UNION ALL BY NAME FROM read_text('{secret}')
SELECT * FROM read_text('s3://127.0.0.1:9/secret')
SELECT * FROM read_parquet('https://127.0.0.1:9/secret.parquet')
SELECT * FROM 'http://127.0.0.1:9/secret.csv'
SELECT * FROM read_csv('hf://datasets/a/b.csv')
SELECT * FROM canary_frame
SELECT * FROM canary_arrow
SELECT * FROM canary_relation
SELECT * FROM python_map_function()
SELECT * FROM pandas_scan(0)
SELECT * FROM arrow_scan(0, 0, 0)
SELECT * FROM python_arrow_scan(0, 0, 0)
SELECT getenv('WEXPORT_CANARY')
SELECT getenv('HOME') || (SELECT getenv('WEXPORT_CANARY'))
SELECT * FROM duckdb_secrets()
SELECT * FROM which_secret('{secret}', 'http')
SELECT * FROM duckdb_logs()
SELECT * FROM duckdb_logs_parsed('QueryLog')
SELECT * FROM duckdb_temporary_files()
SELECT * FROM duckdb_external_file_cache()
SELECT * FROM pragma_storage_info('{csv}')
SELECT * FROM pragma_table_info('{csv}')
SHOW TABLES FROM '{csv}'
SHOW ALL TABLES
SELECT current_setting('secret_directory')
SELECT error((SELECT content FROM read_text('{secret}')))
SELECT * FROM read_csv('{secret}', columns = {{'a': 'INTEGER'}}, header = false)
SELECT * FROM st_read('{csv}')
SELECT * FROM sqlite_scan('{folder}/other.duckdb', 'a')
SELECT * FROM read_xlsx('{csv}')
SELECT * FROM iceberg_scan('{folder}')
SELECT * FROM delta_scan('{folder}')
SELECT * FROM postgres_query('host=127.0.0.1 port=9', 'SELECT 1')
SELECT * FROM http_get('http://127.0.0.1:9')
"""


_MEANT = {
    r"\n": "\n",
    r"\0": "\0",
    r"\u00a0": "\u00a0",
    r"\u2028": "\u2028",
    r"\ufeff": "\ufeff",
    r"\ud800": "\ud800",
}


def statements(block: str) -> list[str]:
    """The statements of a block, one a line; what is escaped in them becomes what it stands for."""
    for written, meant in _MEANT.items():
        block = block.replace(written, meant) if written != r"\n" else block
    return [line.replace(r"\n", "\n") for line in block.split("\n") if line]
