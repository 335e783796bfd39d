/* Health, version, and the two texts that describe the service. */
#include <string.h>

#include "api/auth.h"
#include "api/emit.h"
#include "api/handlers.h"
#include "embedded.h"

bool meta_live(struct request *rq, struct err *err)
{
    const struct api_config *cfg = &rq->api->cfg;
    if (cfg->alive != NULL && !cfg->alive(cfg->alive_ctx)) {
        err_set(err, ERR_UNAVAILABLE, "the scheduler hangs");
        return err_hint(err, "start the server again; what runs goes on");
    }
    struct jsonw *w = response_json(rq, 200);
    jsonw_object(w);
    jsonw_kv_cstr(w, "status", "alive");
    jsonw_object_end(w);
    return true;
}

bool meta_ready(struct request *rq, struct err *err)
{
    if (!rq->api->cfg.db) return err_set(err, ERR_UNAVAILABLE, "this server has no database");
    if (!db_ping(rq->api->cfg.db, err)) {
        err->code = ERR_UNAVAILABLE;
        if (rq->health_only) err_set(err, ERR_UNAVAILABLE, "the database is away"); /* no details without a token */
        return false;
    }
    struct jsonw *w = response_json(rq, 200);
    jsonw_object(w);
    jsonw_kv_cstr(w, "status", "ready");
    if (!rq->health_only) {
        uint32_t open, leased;
        db_stats(rq->api->cfg.db, &open, &leased, NULL);
        jsonw_kv_cstr(w, "database", "up");
        jsonw_kv_int(w, "connections", open);
        jsonw_kv_int(w, "streams", atomic_load(&rq->api->streams));
    }
    jsonw_object_end(w);
    return true;
}

bool meta_version(struct request *rq, struct err *err)
{
    struct scope scope;
    struct str project = {NULL, 0};
    if (rq->who.project && !auth_project(rq, project, &scope, &project, err)) return false;
    struct jsonw *w = response_json(rq, 200);
    jsonw_object(w);
    jsonw_kv_cstr(w, "version", MILLRACE_VERSION);
    jsonw_kv_cstr(w, "api", "v1");
    jsonw_kv_cstr(w, "role", role_name(rq->who.role));
    jsonw_kv_str(w, "name", rq->who.name);
    if (project.n) jsonw_kv_str(w, "project", project);
    jsonw_object_end(w);
    return true;
}

static bool send_embedded(struct request *rq, const char *name, const char *type, struct err *err)
{
    for (const struct embedded *f = embedded_files; f->name; f++) {
        if (strcmp(f->name, name) != 0) continue;
        response_begin(rq, 200, type);
        rq->res.etag = true;
        return response_add(rq, f->bytes, f->n);
    }
    return err_set(err, ERR_NOT_FOUND, "this build carries no %s", name);
}

bool meta_schema(struct request *rq, struct err *err)
{
    return send_embedded(rq, "pipeline.schema.json", "application/schema+json", err);
}

bool meta_queue_schema(struct request *rq, struct err *err)
{
    return send_embedded(rq, "queue.schema.json", "application/schema+json", err);
}

bool meta_openapi(struct request *rq, struct err *err)
{
    return send_embedded(rq, "openapi.yaml", "application/yaml", err);
}
