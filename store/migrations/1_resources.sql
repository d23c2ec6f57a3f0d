-- One row for each resource there is, and for a while for each there was: a deletion has a version too.
CREATE TABLE resources (
    type    text   COLLATE "C" NOT NULL,
    mesh    text   COLLATE "C" NOT NULL,
    name    text   COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    spec    bytea,                      -- the resource as JSON; NULL once it is deleted
    deleted timestamptz,                -- when
    PRIMARY KEY (type, mesh, name),
    CHECK ((spec IS NULL) = (deleted IS NOT NULL))
);
CREATE UNIQUE INDEX resources_version ON resources (version);
CREATE INDEX resources_deleted ON resources (deleted) WHERE deleted IS NOT NULL;

-- The newest version there is or was. Whoever writes holds the lock on this one row, so that versions become visible in
-- their order. Deletions up to pruned are no longer known. The lineage is that of this store and of no other.
CREATE TABLE store_version (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL,
    pruned  bigint NOT NULL,
    lineage uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO store_version (version, pruned) VALUES (0, 0);
