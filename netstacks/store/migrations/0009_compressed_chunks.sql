-- `codec` says how `events` are stored: 'none' as they are, 'zstd' compressed (store/compression.py). `sha256` covers the
-- events as they were before. The default is for the chunks that are there, of which none is rewritten, and for instances
-- of the former version, which go on storing without the column during a rolling upgrade.
ALTER TABLE recording_chunks ADD COLUMN codec text NOT NULL DEFAULT 'none';
