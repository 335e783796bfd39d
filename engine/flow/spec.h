/* Reading a document's values into C: the shared tools of the spec_*.c files. A map is read by a table of its fields;
 * what cannot be read is reported with its path and place, and the reading goes on. */
#ifndef MILLRACE_FLOW_SPEC_H
#define MILLRACE_FLOW_SPEC_H

#include "engine/base/map.h"
#include "engine/flow/compile.h"
#include "engine/flow/params.h"

/* The path to a value, from the leaf up; on the stack of whoever descends. */
struct spec_at {
    const struct spec_at *up;
    struct str key;
    size_t index;      /* of a list item; SIZE_MAX = `key` counts */
    struct pos key_at; /* where the key stands, if known */
};

/* In which field an expression stands decides which names it may read. */
enum spec_where {
    WHERE_WHEN,
    WHERE_FOREACH,
    WHERE_INPUT,   /* inputs, params of a sub-pipeline */
    WHERE_LINE,    /* run as a shell line */
    WHERE_COMMAND, /* run as a list, command, args */
    WHERE_ENV,
    WHERE_HEADER,   /* of an HTTP call; like env it may be a secret */
    WHERE_FIELD,    /* http, approval, expr, cache key: of any type */
    WHERE_TEXT,     /* the URL of http, that of import, wait until */
    WHERE_DURATION, /* wait */
    WHERE_OUTPUT,   /* outputs of the pipeline */
    WHERE_DEFAULT,  /* defaults: nothing of a step's own */
};

/* An expression to be checked when all names are known. */
struct spec_use {
    struct expr_template text;  /* its parts are checked; for a bare condition one part */
    const struct value *scalar; /* for places; NULL when the text was made up here from a list or map */
    struct pos at;              /* of the value */
    struct str path;
    enum spec_where where;
    uint32_t node; /* UINT32_MAX = the pipeline's own */
};

#define SPEC_MAX_COST PARAMS_MAX_COST /* of one document */
#define SPEC_MAX_REPEATED 500000

struct spec {
    struct arena *arena;
    const struct compile_env *env;
    struct err_list *errors;
    struct err_list found; /* in what was parsed last */
    struct spec_use *uses;
    size_t n_uses, room_uses;
    uint32_t node;              /* being read */
    const struct param *params; /* the pipeline's; read before its steps */
    size_t n_params;
    struct map secrets;           /* those of them that are secrets, by name */
    struct map default_env;       /* name → place among the defaults */
    bool defaults;                /* what is being read is `defaults:` */
    uint64_t spent;               /* steps of evaluation, of SPEC_MAX_COST: patterns and what is known beforehand */
    uint64_t n_default, repeated; /* entries that steps have of the defaults, of SPEC_MAX_REPEATED */
};

/* ---- errors ---- */

/* The slot of a new error at a value, with the path filled in; v NULL = at the key. Message by printf. */
__attribute__((format(printf, 4, 5))) struct err *spec_error(struct spec *s, const struct spec_at *at,
                                                             const struct value *v, const char *fmt, ...);
/* "expected WHAT, found a TYPE" */
struct err *spec_expected(struct spec *s, const struct spec_at *at, const struct value *v, const char *what);
/* Takes over an error of a library function that knows neither path nor document. */
void spec_adopt(struct spec *s, const struct spec_at *at, const struct value *v, const struct err *e);
struct str spec_path(struct arena *a, const struct spec_at *at);
/* "did you mean 'x'?", or what there is, as far as it has room. */
void spec_suggest(struct err *e, struct str word, const struct str *names, size_t n);

/* ---- maps by table ---- */

typedef void spec_fn(struct spec *s, const struct spec_at *at, const struct value *v, void *out);

struct spec_field {
    const char *name;
    spec_fn *read;
    size_t offset; /* of what `read` fills, in the target */
    unsigned mask; /* in which variants of the map the field may stand; 0 = all */
    bool required;
};
/* Reads the entries of a map; unknown keys, missing ones and duplicates of meaning are reported. A misspelled key is
 * read as what it is likely to mean, so that nothing follows from it. False when v is no map. `variant` selects by
 * mask, `what` names it in messages ("a step with expr"). */
bool spec_fields(struct spec *s, const struct spec_at *at, const struct value *v, const struct spec_field *fields,
                 size_t n, unsigned variant, const char *what, void *target);
/* Is there a key that nobody knows, and that is likely to mean this field? */
bool spec_misspelled(const struct value *map, const struct spec_field *fields, size_t n, const char *name);
#define SPEC_COUNT(table) (sizeof(table) / sizeof *(table))

/* Each entry of a map, or item of a list, through one function; out is handed on. False when v is none. */
typedef void spec_each_fn(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                          size_t i);
bool spec_each(struct spec *s, const struct spec_at *at, const struct value *v, spec_each_fn *fn, void *out);

/* ---- leaves; `out` is of the type named ---- */

void spec_str(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* struct str */
void spec_name(struct spec *s, const struct spec_at *at, const struct value *v,
               void *out);           /* struct str, a plain name */
bool spec_yaml11_bool(struct str s); /* yes, off, … are strings here: errors say so */
void spec_bool(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* bool */
/* Also of a numeric string, as other tools write them. False with an error. */
bool spec_whole(struct spec *s, const struct spec_at *at, const struct value *v, int64_t min, int64_t max,
                int64_t *out);
void spec_count(struct spec *s, const struct spec_at *at, const struct value *v, void *out);    /* uint32_t, ≥ 0 */
void spec_positive(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* uint32_t, ≥ 1 */
void spec_workers(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* the same, of a step */
void spec_int32(struct spec *s, const struct spec_at *at, const struct value *v, void *out);   /* int32_t */
void spec_double(struct spec *s, const struct spec_at *at, const struct value *v, void *out);  /* double */
void spec_duration(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* int64_t ms */
void spec_bytes(struct spec *s, const struct spec_at *at, const struct value *v, void *out);    /* int64_t */
void spec_cpu(struct spec *s, const struct spec_at *at, const struct value *v, void *out);      /* int64_t milli */
void spec_percent(struct spec *s, const struct spec_at *at, const struct value *v, void *out);  /* double */
void spec_any(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* const struct value * */
void spec_path_in(struct spec *s, const struct spec_at *at, const struct value *v,
                  void *out); /* struct str, a safe relative path */
void spec_path_in_volume(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* the same */

/* Without "." and empty pieces, so that one file has one spelling; the folder itself is ".". */
struct str spec_plain_path(struct arena *a, struct str path);

/* A word of a const table of names; SIZE_MAX with an error reported when it is none. */
size_t spec_word(struct spec *s, const struct spec_at *at, const struct value *v, const char *const *words, size_t n);

struct spec_strs {
    struct str *items;
    size_t n;
};
void spec_strs(struct spec *s, const struct spec_at *at, const struct value *v, void *out); /* one string, or a list */

/* Step, param, input, output names: letters, digits, '_' and '-', beginning with a letter. */
bool spec_check_name(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, const char *what);

/* ---- expressions: parsed now, checked later ---- */

/* A scalar as text with expressions in it. */
bool spec_template(struct spec *s, const struct spec_at *at, const struct value *v, enum spec_where where,
                   struct expr_template *out);
/* Any value; numbers, lists and maps keep their type by becoming one expression. */
bool spec_typed(struct spec *s, const struct spec_at *at, const struct value *v, enum spec_where where,
                struct expr_template *out);
/* A condition: one ${{ }}, or true or false. */
bool spec_condition(struct spec *s, const struct spec_at *at, const struct value *v, const struct expr **out,
                    struct str *source);

#endif
