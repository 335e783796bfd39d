/* Which devices a flavor of a DeviceClass means: `devices`. Names and texts become part of an expression that
 * Kubernetes evaluates, so only what Kubernetes takes for them is read.
 * https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/ */
#include "engine/base/units.h"
#include "engine/flow/queue_doc.h"
#include "engine/flow/spec.h"

/* A selector has 10 KiB; of each kind so many, however long they are, fit. */
#define CONDITIONS_MAX 12
#define ID_MAX 32
#define DOMAIN_MAX 63
#define TEXT_MAX 64
#define CAPACITY_MAX ((int64_t)1 << 43) /* thousandths of it are whole numbers as doubles, too */

struct reading {
    struct str driver;
    const struct value *attributes, *capacity;
};

static bool is_domain(struct str s)
{
    bool good = s.n > 0 && s.n <= DOMAIN_MAX;
    for (size_t i = 0; good && i < s.n; i++) {
        char c = s.p[i];
        good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               (i > 0 && i + 1 < s.n && (c == '.' || (c == '-' && s.p[i - 1] != '.')));
    }
    return good;
}

static bool is_id(struct str s)
{
    bool good = s.n > 0 && s.n <= ID_MAX && !(s.p[0] >= '0' && s.p[0] <= '9');
    for (size_t i = 0; good && i < s.n; i++) {
        char c = s.p[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    }
    return good;
}

/* productName, or gpu.example.com/productName. */
static void split_key(struct spec *s, const struct spec_at *at, struct str key, struct str *domain, struct str *id)
{
    size_t slash;
    bool has_domain = str_find(key, STR("/"), &slash);
    *domain = has_domain ? str_sub(key, 0, slash) : STR("");
    *id = has_domain ? str_sub(key, slash + 1, key.n) : key;
    if ((!has_domain || is_domain(*domain)) && is_id(*id)) return;
    err_hint(spec_error(s, at, NULL, "attributes and capacities are named as in ResourceSlices: NAME or DOMAIN/NAME"),
             "kubectl get resourceslices -o yaml shows them");
}

static void read_driver(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    size_t before = s->errors->total;
    spec_str(s, at, v, out);
    if (s->errors->total == before && !is_domain(*(struct str *)out))
        err_hint(spec_error(s, at, v, "a driver is named by a domain"), "driver: gpu.nvidia.com");
}

static bool is_plain(struct str s)
{
    bool good = s.n > 0 && s.n <= TEXT_MAX;
    for (size_t i = 0; good && i < s.n; i++)
        good = (unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f;
    return good;
}

static void one_attribute(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                          size_t i)
{
    struct queue_attribute *a = (struct queue_attribute *)out + i;
    split_key(s, at, key, &a->domain, &a->id);
    if (v->type == VALUE_STRING) {
        a->type = QUEUE_ATTRIBUTE_STRING;
        a->text = v->u.s;
        if (!is_plain(v->u.s)) spec_error(s, at, v, "an attribute's text has from 1 to %d characters", TEXT_MAX);
    } else if (v->type == VALUE_INT) {
        a->type = QUEUE_ATTRIBUTE_INT;
        a->number = v->u.i;
    } else if (v->type == VALUE_BOOL) {
        a->type = QUEUE_ATTRIBUTE_BOOL;
        a->number = v->u.b;
    } else {
        spec_expected(s, at, v, "a text, a whole number, true or false");
    }
}

static void one_capacity(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                         size_t i)
{
    struct queue_capacity *c = (struct queue_capacity *)out + i;
    struct err err = {0};
    size_t before = s->errors->total;
    split_key(s, at, key, &c->domain, &c->id);
    if (v->type == VALUE_INT)
        c->least = v->u.i;
    else if (!units_bytes(v, &c->least, &err))
        spec_adopt(s, at, v, &err);
    if (s->errors->total == before && (c->least < 0 || c->least > CAPACITY_MAX))
        spec_error(s, at, v, "a capacity lies between 0 and 8Ti");
}

static void conditions(struct spec *s, const struct spec_at *up, const char *key, const struct value *map,
                       spec_each_fn *fn, void *out, size_t *n)
{
    const struct spec_at at = {up, str_of(key), SIZE_MAX, {0, 0}};
    if (map == NULL) return;
    if (map->type != VALUE_MAP)
        spec_expected(s, &at, map, "a map");
    else if (map->u.map.n > CONDITIONS_MAX)
        spec_error(s, &at, map, "devices are told apart by at most %d of each", CONDITIONS_MAX);
    else if (spec_each(s, &at, map, fn, out))
        *n = map->u.map.n;
}

void queue_read_devices(struct spec *s, const struct spec_at *at, const struct value *v, void *out)
{
    static const struct spec_field fields[] = {
        {"driver", read_driver, offsetof(struct reading, driver), 0, false},
        {"attributes", spec_any, offsetof(struct reading, attributes), 0, false},
        {"capacity", spec_any, offsetof(struct reading, capacity), 0, false},
    };
    struct queue_devices *d = out;
    struct reading r = {0};
    if (!spec_fields(s, at, v, fields, SPEC_COUNT(fields), 0, "devices", &r)) return;
    struct queue_attribute *attributes = arena_calloc(s->arena, CONDITIONS_MAX, sizeof *attributes);
    struct queue_capacity *capacity = arena_calloc(s->arena, CONDITIONS_MAX, sizeof *capacity);
    d->driver = r.driver;
    d->attributes = attributes;
    d->capacity = capacity;
    conditions(s, at, "attributes", r.attributes, one_attribute, attributes, &d->n_attributes);
    conditions(s, at, "capacity", r.capacity, one_capacity, capacity, &d->n_capacity);
}

void queue_devices_settle(struct arena *a, struct str device_class, struct queue_devices *d)
{
    struct queue_attribute *attributes = arena_array(a, struct queue_attribute, d->n_attributes + 1);
    struct queue_capacity *capacity = arena_array(a, struct queue_capacity, d->n_capacity + 1);
    if (d->driver.n == 0) d->driver = device_class;
    for (size_t i = 0; i < d->n_attributes; i++) {
        attributes[i] = d->attributes[i];
        if (attributes[i].domain.n == 0) attributes[i].domain = d->driver;
    }
    for (size_t i = 0; i < d->n_capacity; i++) {
        capacity[i] = d->capacity[i];
        if (capacity[i].domain.n == 0) capacity[i].domain = d->driver;
    }
    d->attributes = attributes;
    d->capacity = capacity;
}
