/* Secrets of the server for steps on a cluster: what a step names goes into one Secret, which belongs to its Job
 * (kube_belongings.c). Values are covered in what the step shows.
 *
 * Steps of all projects share a namespace, and a pod may name any Secret there: so this one's name is made of the
 * step's token, which every server knows, and no other step. */
#include <stdio.h>
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/blob/logs.h"
#include "engine/os/clock.h"
#include "engine/os/log.h"
#include "engine/os/secret.h"
#include "scheduler/kube_inner.h"

#define NAME_HASH 32
#define ALL_MOST ((size_t)1000 << 10) /* bytes of one Secret: Kubernetes takes 1 MiB */

static bool name_it(struct kube_attempt *a, const struct exec_request *req, struct err *err)
{
    char hex[DIGEST_TEXT];
    if (req->token.n == 0) {
        err_set(err, ERR_INVALID, "a step on a cluster has secrets of the server by its token, and it has none");
        return err_hint(err, "start the server with --api-url, or make it a Secret of the cluster");
    }
    digest_of(arena_printf(&a->arena, "secret of %.*s", STR_ARG(req->token)), hex);
    a->secret_name = arena_printf(&a->arena, "%s-%.*s", a->name, NAME_HASH, hex + sizeof "sha256:" - 1);
    return true;
}

static bool add(struct kube_attempt *a, struct str value, struct kube_variable *out, struct err *err)
{
    struct arena *m = &a->arena;
    size_t total = value.n, bad;
    struct str *all = arena_array(m, struct str, a->n_secrets + 1);
    for (size_t i = 0; i < a->n_secrets; i++) {
        all[i] = a->secrets[i];
        total += all[i].n;
    }
    if (total > ALL_MOST)
        return err_set(err, ERR_LIMIT, "its secrets are %zu bytes together, a pod takes 1000 Ki", total);
    if (!utf8_valid(value, &bad)) return err_set(err, ERR_INVALID, "the secret is not UTF-8 text, as a pod takes it");
    all[a->n_secrets] = value;
    a->secrets = all;
    out->secret = a->secret_name;
    out->key = arena_printf(m, "v%zu", a->n_secrets++);
    return true;
}

bool kube_secret_take(struct kube_attempt *a, const struct exec_request *req, const struct launch_env *e,
                      struct kube_variable *out, struct err *err)
{
    struct kube *k = a->owner;
    struct str value, project = req->project;
    a->secrets_of = arena_str(&a->arena, project);
    *out = (struct kube_variable){.name = e->name};
    if (!name_it(a, req, err) || !secret_fetch(k->cfg.secrets_dir, project, e->secret.name, &a->arena, &value, err) ||
        !add(a, value, out, err))
        return err_path(err, "env.%.*s", STR_ARG(e->name));
    struct err why = {0};
    if (!secret_given(k->cfg.secrets_dir, project, value, &why) && !k->forgetful) {
        log_err(LEVEL_WARN, "logs may show secrets that change while their steps run", &why);
        k->forgetful = true;
    }
    mask_add(&a->mask, &a->arena, value);
    return true;
}

/* ---- what is covered ---- */

/* A secret may have changed meanwhile, and others' may have come in with an input. */
static bool masked(struct kube_attempt *a)
{
    struct mask now;
    if (a->secrets_of.n == 0 || a->mask_made) return a->mask_made;
    mask_forms(&a->mask, &a->arena);
    secret_mask(a->owner->cfg.secrets_dir, a->secrets_of, &a->arena, &now);
    for (size_t i = 0; i < now.n; i++)
        mask_add(&a->mask, &a->arena, now.values[i]);
    mask_sort(&a->mask);
    a->mask_made = true;
    return true;
}

void kube_secret_cover_log(struct kube_attempt *a, int64_t from)
{
    char path[FS_PATH_MAX];
    struct err err = {0};
    if (!masked(a)) return;
    if (!step_log_path(a->owner->cfg.store_dir, a->id.run, (int32_t)a->id.task, (int32_t)a->id.attempt, path, &err) ||
        !step_log_cover(path, from, &a->mask, &err))
        log_err(LEVEL_ERROR, "a log may show secrets", &err);
}

void kube_secret_cover(struct kube_attempt *a)
{
    struct task_result *r = &a->result;
    if (!masked(a)) return;
    bool holds = r->ok && mask_holds(&a->mask, r->outputs);
    for (size_t i = 0; r->ok && i < a->n_artifacts; i++)
        holds |= mask_holds(&a->mask, a->artifacts[i].metadata);
    if (holds)
        *r = (struct task_result){.failure = FAILURE_ERROR,
                                  .reason = REASON_OUTPUT,
                                  .exit_code = r->exit_code,
                                  .started_us = r->started_us,
                                  .ended_us = r->ended_us,
                                  .log_bytes = r->log_bytes,
                                  .message =
                                      STR("exited with code 0, but one of its outputs holds a secret, and outputs "
                                          "are recorded")};
    if (holds) a->n_artifacts = 0;
    char *copy = arena_alloc(&a->arena, r->message.n + 1);
    memcpy(copy, r->message.n > 0 ? r->message.p : "", r->message.n);
    (void)mask_cover(&a->mask, copy, r->message.n);
    r->message = (struct str){copy, r->message.n};
}

/* ---- the Secret ---- */

void kube_secret_json(const struct kube_attempt *a, struct buf *out)
{
    struct jsonw w;
    char key[24];
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "apiVersion", "v1");
    jsonw_kv_cstr(&w, "kind", "Secret");
    jsonw_kv_bool(&w, "immutable", true);
    kube_owned_metadata(&w, a->secret_name, str_of(a->name), str_of(a->job_uid), a->owner->cfg.instance, a->id);
    jsonw_key(&w, "stringData");
    jsonw_object(&w);
    for (size_t i = 0; i < a->n_secrets; i++) {
        snprintf(key, sizeof key, "v%zu", i);
        jsonw_kv_str(&w, key, a->secrets[i]);
    }
    jsonw_object_end(&w);
    jsonw_object_end(&w);
    (void)jsonw_end(&w);
}
