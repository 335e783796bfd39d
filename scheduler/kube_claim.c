/* Templates of claims. See kube_claim.h. */
#include "scheduler/kube_claim.h"

#include <inttypes.h>
#include <stdio.h>

#include "engine/base/jsonw.h"
#include "engine/os/digest.h"
#include "scheduler/kube_job.h"

/* ---- the selector ---- */

/* What was read of a flavor has no control characters. */
static void quoted(struct buf *out, struct str text)
{
    buf_char(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\') buf_char(out, '\\');
        buf_char(out, text.p[i]);
    }
    buf_char(out, '"');
}

/* An attribute that is not there would be an error, which fails the whole allocation: so it is asked for first. */
static void has(struct buf *out, const char *what, struct str domain, struct str id)
{
    buf_c(out, " && ");
    quoted(out, id);
    buf_printf(out, " in device.%s[", what);
    quoted(out, domain);
    buf_printf(out, "] && device.%s[", what);
    quoted(out, domain);
    buf_c(out, "][");
    quoted(out, id);
    buf_c(out, "]");
}

void kube_claim_selector(const struct queue_devices *want, struct buf *out)
{
    buf_c(out, "device.driver == ");
    quoted(out, want->driver);
    for (size_t i = 0; i < want->n_attributes; i++) {
        const struct queue_attribute *a = &want->attributes[i];
        has(out, "attributes", a->domain, a->id);
        buf_c(out, " == ");
        switch (a->type) {
        case QUEUE_ATTRIBUTE_STRING: quoted(out, a->text); break;
        case QUEUE_ATTRIBUTE_INT: buf_printf(out, "%" PRId64, a->number); break;
        case QUEUE_ATTRIBUTE_BOOL: buf_c(out, a->number ? "true" : "false"); break;
        }
    }
    for (size_t i = 0; i < want->n_capacity; i++) {
        has(out, "capacity", want->capacity[i].domain, want->capacity[i].id);
        buf_printf(out, ".compareTo(quantity(\"%" PRId64 "\")) >= 0", want->capacity[i].least);
    }
}

/* ---- the template ---- */

static void labels(struct jsonw *w, struct str instance)
{
    jsonw_key(w, "labels");
    jsonw_object(w);
    jsonw_kv_cstr(w, "app.kubernetes.io/name", "millrace-step");
    jsonw_kv_cstr(w, "app.kubernetes.io/managed-by", "millrace");
    jsonw_kv_str(w, KUBE_LABEL_INSTANCE, instance);
    jsonw_object_end(w);
}

static void request(struct jsonw *w, const struct kube_claim *c)
{
    jsonw_object(w);
    jsonw_kv_cstr(w, "name", "gpu");
    jsonw_key(w, "exactly");
    jsonw_object(w);
    jsonw_kv_str(w, "deviceClassName", c->device_class);
    jsonw_kv_cstr(w, "allocationMode", "ExactCount");
    jsonw_kv_int(w, "count", c->count);
    jsonw_key(w, "selectors");
    jsonw_array(w);
    jsonw_object(w);
    jsonw_key(w, "cel");
    jsonw_object(w);
    jsonw_kv_str(w, "expression", c->selector);
    jsonw_object_end(w);
    jsonw_object_end(w);
    jsonw_array_end(w);
    jsonw_object_end(w);
    jsonw_object_end(w);
}

static void requests(struct jsonw *w, const struct kube_claim *c)
{
    jsonw_key(w, "spec");
    jsonw_object(w);
    jsonw_key(w, "devices");
    jsonw_object(w);
    jsonw_key(w, "requests");
    jsonw_array(w);
    request(w, c);
    jsonw_array_end(w);
    jsonw_object_end(w);
    jsonw_object_end(w);
}

void kube_claim_template_name(const struct kube_claim *c, struct str instance, char out[KUBE_TEMPLATE_NAME])
{
    char hex[DIGEST_TEXT];
    BUF_AUTO facts;
    buf_init(&facts, 0);
    buf_printf(&facts, "%.*s\n%.*s\n%u\n%.*s", STR_ARG(instance), STR_ARG(c->device_class), c->count,
               STR_ARG(c->selector));
    digest_of(buf_view(&facts), hex);
    snprintf(out, KUBE_TEMPLATE_NAME, KUBE_CLAIM "-%.*s", 24, hex + sizeof "sha256:" - 1);
}

void kube_claim_template_json(const struct kube_claim *c, struct str instance, struct buf *out)
{
    char name[KUBE_TEMPLATE_NAME];
    struct jsonw w;
    kube_claim_template_name(c, instance, name);
    jsonw_to_buf(&w, out);
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "apiVersion", "resource.k8s.io/v1");
    jsonw_kv_cstr(&w, "kind", "ResourceClaimTemplate");
    jsonw_key(&w, "metadata");
    jsonw_object(&w);
    jsonw_kv_cstr(&w, "name", name);
    labels(&w, instance);
    jsonw_object_end(&w);
    jsonw_key(&w, "spec");
    jsonw_object(&w);
    jsonw_key(&w, "metadata");
    jsonw_object(&w);
    labels(&w, instance);
    jsonw_object_end(&w);
    requests(&w, c);
    jsonw_object_end(&w);
    jsonw_object_end(&w);
    (void)jsonw_end(&w);
}
