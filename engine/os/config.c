/* See config.h. To add an option: a field there, a row here. */
#include "engine/os/config.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/units.h"
#include "engine/os/fs.h"

enum option_type {
    OPTION_STRING,
    OPTION_PATH,
    OPTION_INT,
    OPTION_BOOL,
    OPTION_ENUM,
    OPTION_BYTES,
    OPTION_CPU,
    OPTION_DURATION
};

/* The fallback is text as a user would write it, or made by a function where it depends on the machine. */
struct option {
    const char *name, *value_name;
    enum option_type type;
    size_t offset;
    int64_t min, max;
    const char *fallback;
    struct str (*fallback_of)(struct arena *a);
    const char *env2;          /* a second name in the environment */
    const char *const *values; /* of an enum, NULL-terminated */
    const char *help;
};

static const char *const roles[] = {"all", "api", "scheduler", NULL};
static const char *const executors[] = {"process", "kubernetes", NULL};
static const char *const levels[] = {"debug", "info", "warn", "error", "none", NULL};

static struct str default_data_dir(struct arena *a);
static struct str all_cpus(struct arena *a);
static struct str all_memory(struct arena *a);

#define FIELD(f) offsetof(struct config, f)
#define GI (INT64_C(1) << 30)
#define YEARS(n) ((n)*INT64_C(365) * 86400000)

/* clang-format off */
static const struct option options[] = {
    {"data-dir", "DIR", OPTION_PATH, FIELD(data_dir), 0, 0, NULL, default_data_dir, NULL, NULL,
     "where all that is not elsewhere is kept (as root: /var/lib/millrace, else ~/.local/share/millrace)"},
    {"store-dir", "DIR", OPTION_PATH, FIELD(store_dir), 0, 0, "", NULL, NULL, NULL,
     "where artifacts, code, logs and checkpoints are; all servers of one database must share it (the data folder)"},
    {"artifact-store", "PLACE", OPTION_STRING, FIELD(artifact_store), 0, 0, "disk", NULL, NULL, NULL,
     "where artifacts and code are kept: disk (in the store), or s3://BUCKET/PREFIX; the same for all servers of one "
     "database"},
    {"artifact-cache", "SIZE", OPTION_BYTES, FIELD(artifact_cache_bytes), 1 << 20, 65536 * GI, "10Gi", NULL, NULL, NULL,
     "what is kept in the data folder of artifacts that local steps read from S3; what is in use may be more"},
    {"s3-endpoint", "URL", OPTION_STRING, FIELD(s3_endpoint), 0, 0, "", NULL, NULL, NULL,
     "http(s)://HOST[:PORT] of what speaks S3; empty: AWS's own of the region"},
    {"s3-region", "NAME", OPTION_STRING, FIELD(s3_region), 0, 0, "us-east-1", NULL, "AWS_REGION", NULL,
     "region of the bucket"},
    {"s3-path-style", "BOOL", OPTION_BOOL, FIELD(s3_path_style), 0, 0, "false", NULL, NULL, NULL,
     "name the bucket in the path of URLs, not in the host's name: most that is not AWS wants it"},
    {"s3-credentials", "FILE", OPTION_PATH, FIELD(s3_credentials), 0, 0, "", NULL, NULL, NULL,
     "keys for S3, as aws_access_key_id = ... and aws_secret_access_key = ..., perhaps aws_session_token; read again "
     "when it changes. Empty: AWS_ACCESS_KEY_ID and so on in the environment"},
    {"listen", "HOST:PORT", OPTION_STRING, FIELD(listen), 0, 0, "127.0.0.1:7070", NULL, NULL, NULL,
     "IPv4 address of the HTTP API, or localhost; * for all"},
    {"health-listen", "HOST:PORT", OPTION_STRING, FIELD(health_listen), 0, 0, "", NULL, NULL, NULL,
     "a second address for /healthz and /readyz alone, which need no token there; empty: none"},
    {"hosts", "NAMES", OPTION_STRING, FIELD(hosts), 0, 0, "", NULL, NULL, NULL,
     "names, comma-separated, that the API is called by besides its addresses and localhost; others are refused. "
     "Empty: none on loopback, any elsewhere"},
    {"database-url", "URL", OPTION_STRING, FIELD(database_url), 0, 0, "", NULL, "DATABASE_URL", NULL,
     "PostgreSQL to use (a direct connection, no transaction pooler); empty: a private one under the data folder"},
    {"postgres-bin-dir", "DIR", OPTION_PATH, FIELD(postgres_bin_dir), 0, 0, "", NULL, NULL, NULL,
     "where initdb and postgres are, for the private one; empty: the newest under /usr/lib/postgresql, or in PATH"},
    {"role", "ROLE", OPTION_ENUM, FIELD(role), 0, 0, "all", NULL, NULL, roles,
     "what this process does: all, api, scheduler (split roles need database-url)"},
    {"threads", "N", OPTION_INT, FIELD(threads), 4, 1000, "50", NULL, NULL, NULL,
     "connections served at once by the API; at most half of them may be event streams"},
    {"connections", "N", OPTION_INT, FIELD(connections), 1, 200, "8", NULL, NULL, NULL,
     "connections to the database for requests"},
    {"cpus", "N", OPTION_CPU, FIELD(cpu_milli), 100, 4096000, NULL, all_cpus, NULL, NULL,
     "CPUs that local steps may take together, e.g. 4 or 500m (all of the machine)"},
    {"memory", "SIZE", OPTION_BYTES, FIELD(memory_bytes), 16 << 20, 65536 * GI, NULL, all_memory, NULL, NULL,
     "memory that local steps may take together, e.g. 8Gi (all of the machine)"},
    {"gpus", "LIST", OPTION_STRING, FIELD(gpus), 0, 0, "all", NULL, NULL, NULL,
     "GPUs that local steps may have: all, none, or numbers and UUIDs, comma-separated; several servers of one machine "
     "must not have the same"},
    {"nvml-library", "FILE", OPTION_STRING, FIELD(nvml_library), 0, 0, "", NULL, NULL, NULL,
     "library by which NVIDIA's driver tells of them; empty: libnvidia-ml.so.1, where there is one"},
    {"step-memory", "SIZE", OPTION_BYTES, FIELD(step_memory_bytes), 0, 65536 * GI, "0B", NULL, NULL, NULL,
     "memory limit of a local step that declares none; 0B: not limited"},
    {"step-log-max", "SIZE", OPTION_BYTES, FIELD(step_log_bytes), 0, 65536 * GI, "1Gi", NULL, NULL, NULL,
     "what a step may write to its log before it is stopped; 0B: not limited"},
    {"step-user", "NAME", OPTION_STRING, FIELD(step_user), 0, 0, "", NULL, NULL, NULL,
     "user that local steps run as when the server is root (nobody)"},
    {"step-path", "PATH", OPTION_STRING, FIELD(step_path), 0, 0, "/usr/local/bin:/usr/bin:/bin", NULL, NULL, NULL,
     "PATH of local steps, e.g. with a virtual environment's bin folder in front"},
    {"grace", "TIME", OPTION_DURATION, FIELD(grace_ms), 0, YEARS(1), "10s", NULL, NULL, NULL,
     "how long a step may take to end after SIGTERM before it is killed"},
    {"takeover", "TIME", OPTION_DURATION, FIELD(takeover_ms), 1, YEARS(1), "30s", NULL, NULL, NULL,
     "how long a server that is gone may come back to its running steps before another runs them anew"},
    {"executor", "NAME", OPTION_ENUM, FIELD(executor), 0, 0, "process", NULL, NULL, executors,
     "what runs steps: process, on this machine, or kubernetes, as Jobs"},
    {"kubeconfig", "FILE", OPTION_PATH, FIELD(kubeconfig), 0, 0, "", NULL, NULL, NULL,
     "how the cluster is reached; empty: as kubectl finds it, or from within a pod"},
    {"kube-context", "NAME", OPTION_STRING, FIELD(kube_context), 0, 0, "", NULL, NULL, NULL,
     "context of the kubeconfig; empty: the current one"},
    {"kube-namespace", "NAME", OPTION_STRING, FIELD(kube_namespace), 0, 0, "", NULL, NULL, NULL,
     "where Jobs are made; empty: the context's"},
    {"kube-image", "IMAGE", OPTION_STRING, FIELD(kube_image), 0, 0, "", NULL, NULL, NULL,
     "image of steps that name none; empty: such a step is refused"},
    {"kube-companion", "IMAGE", OPTION_STRING, FIELD(kube_companion), 0, 0, "", NULL, NULL, NULL,
     "image of Millrace itself, for the containers beside a step's own that move its code and artifacts (they ask "
     "api-url); empty: steps that need them are refused"},
    {"kube-companion-cpu", "N", OPTION_CPU, FIELD(kube_companion_cpu), 10, 4096000, "2", NULL, NULL, NULL,
     "what each of these containers may use of CPUs; they ask for none, since they work when the step's own does not"},
    {"kube-companion-memory", "SIZE", OPTION_BYTES, FIELD(kube_companion_memory), 32 << 20, 4096 * GI, "256Mi", NULL,
     NULL, NULL, "what each of them may use of memory"},
    {"kube-cache", "DIR", OPTION_STRING, FIELD(kube_cache), 0, 0, "", NULL, NULL, NULL,
     "folder of each node (a hostPath) where pods share code and artifacts that they fetched, but for those of steps "
     "that run as another user than root by runAsUser or runAsNonRoot; empty: each fetches anew"},
    {"kube-cache-size", "SIZE", OPTION_BYTES, FIELD(kube_cache_bytes), 1 << 20, 65536 * GI, "10Gi", NULL, NULL, NULL,
     "what is kept there"},
    {"kube-jobs", "N", OPTION_INT, FIELD(kube_jobs), 1, 100000, "500", NULL, NULL, NULL,
     "how many unfinished Jobs there are at most; other steps wait in the database. While others begin, as many that "
     "have ended may lie for up to 30s"},
    {"kube-requests", "N", OPTION_INT, FIELD(kube_requests_s), 1, 10000, "50", NULL, NULL, NULL,
     "requests a second to the API server for steps; twice as many in a burst. The queue's view of nodes and pods has "
     "a small budget of its own"},
    {"kube-silence", "TIME", OPTION_DURATION, FIELD(kube_silence_ms), 1000, YEARS(1), "90s", NULL, NULL, NULL,
     "how long the API server may say nothing before a connection to it counts as lost; requests wait 30s at most"},
    {"kube-start", "TIME", OPTION_DURATION, FIELD(kube_start_ms), 1000, YEARS(1), "5m", NULL, NULL, NULL,
     "how long a step may be unable to start for want of an image, a Secret or a volume before it fails"},
    {"local-exec", "BOOL", OPTION_BOOL, FIELD(local_exec), 0, 0, "true", NULL, NULL, NULL,
     "run steps as processes on this machine"},
    {"allow-local-exec", "BOOL", OPTION_BOOL, FIELD(allow_local_exec), 0, 0, "false", NULL, NULL, NULL,
     "run local steps even though listen is not loopback: whoever may submit may then run code here"},
    {"allow-private-egress", "BOOL", OPTION_BOOL, FIELD(allow_private_egress), 0, 0, "false", NULL, NULL, NULL,
     "let http steps reach private and loopback addresses"},
    {"secrets-dir", "DIR", OPTION_PATH, FIELD(secrets_dir), 0, 0, "", NULL, NULL, NULL,
     "secrets that steps may name: <dir>/<project>/<name>; all servers of one database must share it (secrets under "
     "the store)"},
    {"api-url", "URL", OPTION_STRING, FIELD(api_url), 0, 0, "", NULL, NULL, NULL,
     "address of the API as steps see it; empty: made from listen, and on a cluster they are told none"},
    {"max-body", "SIZE", OPTION_BYTES, FIELD(max_body_bytes), 64 << 10, 64 << 20, "8Mi", NULL, NULL, NULL,
     "largest body of an ordinary request (uploads of bundles and artifacts have limits of their own)"},
    {"retention", "TIME", OPTION_DURATION, FIELD(retention_ms), 0, YEARS(10), "0s", NULL, NULL, NULL,
     "how long artifacts and logs of finished runs are kept, e.g. 90d; 0s: for ever"},
    {"log-level", "LEVEL", OPTION_ENUM, FIELD(log_level), 0, 0, "info", NULL, NULL, levels,
     "debug, info, warn, error or none; the log goes to standard error"},
};
/* clang-format on */
#define OPTIONS (sizeof options / sizeof options[0])

static struct str default_data_dir(struct arena *a)
{
    if (geteuid() == 0) return STR("/var/lib/millrace");
    const char *xdg = getenv("XDG_DATA_HOME");
    if (xdg && xdg[0] == '/') return arena_printf(a, "%s/millrace", xdg);
    const char *home = getenv("HOME");
    return arena_printf(a, "%s/.local/share/millrace", home && home[0] == '/' ? home : "/tmp");
}

static struct str all_cpus(struct arena *a)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return arena_printf(a, "%d", n > 0 ? n : 1);
}

/* The limit of a container is the machine as far as steps are concerned. */
static int64_t cgroup_limit(void)
{
    static const char *const files[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        BUF_AUTO text;
        buf_init(&text, 256);
        int64_t limit;
        if (fs_read(files[i], 100, &text, NULL) && str_int(str_trim(buf_view(&text)), &limit)) return limit;
    }
    return INT64_MAX;
}

static struct str all_memory(struct arena *a)
{
    int64_t bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE), limit = cgroup_limit();
    if (limit < bytes) bytes = limit;
    return arena_printf(a, "%" PRId64 "Mi", bytes >> 20);
}

static const struct option *option_find(struct str name)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (str_is(name, options[i].name)) return &options[i];
    return NULL;
}

/* As it is written for the option. */
static const char *number_text(const struct option *o, int64_t n, char out[32])
{
    if (o->type == OPTION_BYTES) return units_bytes_text(n, out);
    if (o->type == OPTION_DURATION) return units_duration_text(n, out);
    if (o->type == OPTION_CPU)
        snprintf(out, 32, "%g", (double)n / 1000);
    else
        snprintf(out, 32, "%" PRId64, n);
    return out;
}

static bool in_range(const struct option *o, int64_t n, struct str text, struct err *err)
{
    char least[32], most[32];
    if (n >= o->min && n <= o->max) return true;
    return err_set(err, ERR_INVALID, "%.*s is out of range (from %s to %s)", STR_ARG(text),
                   number_text(o, o->min, least), number_text(o, o->max, most));
}

static bool parse_bool(struct str text, bool *out)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {{"true", true},   {"yes", true}, {"on", true},   {"1", true}, {"", true},
                 {"false", false}, {"no", false}, {"off", false}, {"0", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (str_is(text, words[i].text)) {
            *out = words[i].value;
            return true;
        }
    return false;
}

static bool parse_enum(const struct option *o, struct str text, int64_t *out, struct err *err)
{
    BUF_AUTO all;
    buf_init(&all, 1000);
    for (int64_t i = 0; o->values[i]; i++) {
        if (str_is(text, o->values[i])) {
            *out = i;
            return true;
        }
        buf_printf(&all, "%s%s", i ? ", " : "", o->values[i]);
    }
    return err_set(err, ERR_INVALID, "%.*s is none of %s", STR_ARG(text), all.p);
}

static struct str absolute(struct arena *a, struct str path)
{
    char cwd[FS_PATH_MAX];
    if (path.n == 0 || path.p[0] == '/' || !getcwd(cwd, sizeof cwd)) return arena_str(a, path);
    return arena_printf(a, "%s/%.*s", cwd, STR_ARG(path));
}

static bool parse_number(const struct option *o, struct str text, int64_t *out, struct err *err)
{
    struct value v = value_string(text);
    int64_t n;
    bool fine;
    switch (o->type) {
    case OPTION_BYTES: fine = units_bytes(&v, &n, err); break;
    case OPTION_CPU: fine = units_cpu(&v, &n, err); break;
    case OPTION_DURATION: fine = units_duration(&v, &n, err); break;
    case OPTION_INT:
    case OPTION_STRING:
    case OPTION_PATH:
    case OPTION_BOOL:
    case OPTION_ENUM:
    default:
        fine = str_int(text, &n);
        if (!fine) err_set(err, ERR_INVALID, "'%.*s' is not a whole number", STR_ARG(text));
        break;
    }
    if (!fine) {
        if (err) err_path(err, "%s", o->name);
        return false;
    }
    if (!in_range(o, n, text, err)) return false;
    *out = n;
    return true;
}

static bool option_set(const struct option *o, struct arena *a, struct str text, struct config *c, struct err *err)
{
    void *field = (char *)c + o->offset;
    switch (o->type) {
    case OPTION_STRING: *(struct str *)field = arena_str(a, text); return true;
    case OPTION_PATH: *(struct str *)field = absolute(a, text); return true;
    case OPTION_BOOL:
        return parse_bool(text, field) || err_set(err, ERR_INVALID, "'%.*s' is neither true nor false", STR_ARG(text));
    case OPTION_ENUM: return parse_enum(o, text, field, err);
    case OPTION_INT:
    case OPTION_BYTES:
    case OPTION_CPU:
    case OPTION_DURATION: return parse_number(o, text, field, err);
    default: return false;
    }
}

struct loading {
    struct arena *arena;
    struct config *config;
    struct err_list *errs;
    bool set[OPTIONS]; /* by a stronger source */
};

static void assign(struct loading *l, const struct option *o, struct str text, const char *source)
{
    size_t i = (size_t)(o - options);
    if (l->set[i]) return;
    l->set[i] = true;
    struct err err;
    err_clear(&err);
    if (option_set(o, l->arena, text, l->config, &err)) return;
    struct err *slot = err_list_add(l->errs, ERR_INVALID, (struct pos){0}, "%s (from %s)", err.message, source);
    memcpy(slot->hint, err.hint, sizeof err.hint);
    err_path(slot, "%s", o->name);
}

static void unknown(struct loading *l, struct str name, const char *source)
{
    struct str names[OPTIONS];
    for (size_t i = 0; i < OPTIONS; i++)
        names[i] = str_of(options[i].name);
    struct err *e =
        err_list_add(l->errs, ERR_INVALID, (struct pos){0}, "unknown option '%.*s' (from %s)", STR_ARG(name), source);
    struct str near = suggest(name, names, OPTIONS);
    if (near.n) err_hint(e, "did you mean %.*s?", STR_ARG(near));
}

/* before: NULL = nothing stands there. */
static void unexpected(struct loading *l, const char *arg, const char *before)
{
    struct err *e = err_list_add(l->errs, ERR_INVALID, (struct pos){0}, "unexpected argument '%s'", arg);
    bool yes;
    if (before == NULL || !str_starts(str_of(before), "--") || !parse_bool(str_of(arg), &yes)) return;
    const struct option *o = option_find(str_of(before + 2));
    if (o != NULL && o->type == OPTION_BOOL) err_hint(e, "write --%s=%s", o->name, arg);
}

/* --name=value, --name value, and a bare --name or --no-name for a yes or no. */
static void from_flags(struct loading *l, int argc, char *const *argv)
{
    for (int i = 0; i < argc; i++) {
        struct str arg = str_of(argv[i]);
        if (!str_starts(arg, "--")) {
            unexpected(l, argv[i], i > 0 ? argv[i - 1] : NULL);
            continue;
        }
        struct str name = str_sub(arg, 2, arg.n), value = {0};
        size_t equals;
        bool has_value = str_find(name, STR("="), &equals);
        if (has_value) {
            value = str_sub(name, equals + 1, name.n);
            name = str_sub(name, 0, equals);
        }
        const struct option *o = option_find(name);
        if (!o && !has_value && str_starts(name, "no-")) {
            o = option_find(str_sub(name, 3, name.n));
            if (o && o->type == OPTION_BOOL) {
                assign(l, o, STR("false"), argv[i]);
                continue;
            }
            o = NULL;
        }
        if (!o) {
            unknown(l, name, argv[i]);
            continue;
        }
        if (!has_value && o->type != OPTION_BOOL) {
            if (i + 1 == argc) {
                err_list_add(l->errs, ERR_INVALID, (struct pos){0}, "--%s needs a value: --%s %s", o->name, o->name,
                             o->value_name);
                continue;
            }
            value = str_of(argv[++i]);
        }
        assign(l, o, value, "the command line");
    }
}

static void env_name(const struct option *o, char out[64])
{
    int n = snprintf(out, 64, "MILLRACE_%s", o->name);
    for (int i = 0; i < n && i < 63; i++)
        out[i] = out[i] == '-' ? '_' : (char)(out[i] >= 'a' && out[i] <= 'z' ? out[i] - 32 : out[i]);
}

static void from_environment(struct loading *l)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        char name[64];
        env_name(&options[i], name);
        const char *value = getenv(name);
        if (!value && options[i].env2) value = getenv(options[i].env2);
        if (value) assign(l, &options[i], str_of(value), name);
    }
}

static void from_file(struct loading *l)
{
    char path[FS_PATH_MAX];
    struct err err;
    BUF_AUTO text;
    buf_init(&text, 0);
    if (!fs_path(path, &err, "%.*s/millrace.conf", STR_ARG(l->config->data_dir))) return;
    if (!fs_read(path, 64 << 10, &text, &err)) {
        if (err.code != ERR_NOT_FOUND) *err_list_next(l->errs) = err;
        return;
    }
    struct str rest = buf_view(&text), row;
    for (uint32_t number = 1; str_split(&rest, '\n', &row); number++) {
        row = str_trim(row);
        if (row.n == 0 || row.p[0] == '#') continue;
        char source[FS_PATH_MAX + 16];
        snprintf(source, sizeof source, "%s:%u", path, number);
        size_t equals;
        if (!str_find(row, STR("="), &equals)) {
            err_list_add(l->errs, ERR_SYNTAX, (struct pos){number, 1}, "%s: expected name = value", source);
            continue;
        }
        struct str name = str_trim(str_sub(row, 0, equals)), value = str_trim(str_sub(row, equals + 1, row.n));
        const struct option *o = option_find(name);
        if (!o)
            unknown(l, name, source);
        else if (o->offset == FIELD(data_dir))
            err_list_add(l->errs, ERR_INVALID, (struct pos){number, 1}, "%s: data-dir cannot be set in its own file",
                         source);
        else
            assign(l, o, value, source);
    }
}

static void fall_back(struct loading *l, const struct option *o)
{
    assign(l, o, o->fallback_of ? o->fallback_of(l->arena) : str_of(o->fallback), "the default");
}

static void split_address(struct loading *l, const char *option, struct str text, struct str *host_out, int64_t *port)
{
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    struct str host = colon ? str_sub(text, 0, colon - 1) : (struct str){0};
    if (host.n && memchr(host.p, ':', host.n)) {
        struct err *e = err_list_add(l->errs, ERR_INVALID, (struct pos){0}, "'%.*s' is an IPv6 address", STR_ARG(text));
        err_path(e, "%s", option);
        err_hint(e, "the server speaks IPv4; a proxy in front of it can speak IPv6");
        return;
    }
    if (!host.n || !str_int(str_sub(text, colon, text.n), port) || *port < 0 || *port > 65535) {
        struct err *e = err_list_add(l->errs, ERR_INVALID, (struct pos){0}, "'%.*s' is not HOST:PORT", STR_ARG(text));
        err_path(e, "%s", option);
        err_hint(e, "for example 127.0.0.1:7070");
        return;
    }
    *host_out = host;
}

/* It is a hostPath: nothing of this machine, and Kubernetes would refuse or misread another in each step. */
static void check_cache(struct loading *l)
{
    struct str path = l->config->kube_cache, rest = path, piece;
    bool bad = path.n > 0 && path.p[0] != '/';
    while (str_split(&rest, '/', &piece))
        bad |= str_is(piece, "..");
    if (!bad) return;
    struct err *e = err_list_add(l->errs, ERR_INVALID, (struct pos){0}, "'%.*s' is not an absolute path without '..'",
                                 STR_ARG(path));
    err_path(e, "kube-cache");
    err_hint(e, "it is a folder of each node: write --kube-cache=/var/cache/millrace");
}

bool config_load(struct arena *a, int argc, char *const *argv, struct config *out, struct err_list *errs)
{
    struct config c = {0};
    struct loading l = {.arena = a, .config = &c, .errs = errs};
    size_t before = errs->total;
    from_flags(&l, argc, argv);
    from_environment(&l);
    fall_back(&l, option_find(STR("data-dir")));
    from_file(&l);
    for (size_t i = 0; i < OPTIONS; i++)
        fall_back(&l, &options[i]);
    struct str health_host;
    int64_t health_port;
    split_address(&l, "listen", c.listen, &c.listen_host, &c.listen_port);
    check_cache(&l);
    if (c.health_listen.n > 0) split_address(&l, "health-listen", c.health_listen, &health_host, &health_port);
    if (c.role != ROLE_ALL && c.database_url.n == 0 && errs->total == before)
        err_hint(err_list_add(errs, ERR_INVALID, (struct pos){0}, "role %s needs database-url", roles[c.role]),
                 "the private PostgreSQL belongs to one process: use --role all, or set DATABASE_URL");
    if (errs->total != before) return false;
    if (c.store_dir.n == 0) c.store_dir = c.data_dir;
    if (c.secrets_dir.n == 0) c.secrets_dir = arena_printf(a, "%.*s/secrets", STR_ARG(c.store_dir));
    *out = c;
    return true;
}

bool config_misspelt(struct arena *a, size_t *cursor, struct str *name, struct str *near)
{
    const size_t prefix = sizeof "MILLRACE_" - 1;
    struct str names[OPTIONS];
    for (size_t i = 0; i < OPTIONS; i++) {
        char env[64];
        env_name(&options[i], env);
        names[i] = arena_str(a, str_of(env + prefix));
    }
    for (const char *one; (one = environ[*cursor]) != NULL;) {
        struct str rest = str_of(one);
        ++*cursor;
        if (!str_starts(rest, "MILLRACE_") || !str_split(&rest, '=', name)) continue;
        *near = suggest(str_sub(*name, prefix, name->n), names, OPTIONS);
        if (near->n == 0 || str_eq(*near, str_sub(*name, prefix, name->n))) continue;
        *near = arena_printf(a, "MILLRACE_%.*s", STR_ARG(*near));
        return true;
    }
    return false;
}

void config_help(struct buf *out)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option *o = &options[i];
        char flag[64], env[64];
        snprintf(flag, sizeof flag, "--%s %s", o->name, o->value_name);
        env_name(o, env);
        buf_printf(out, "  %-26s %s", flag, o->help);
        if (o->fallback && o->fallback[0]) buf_printf(out, " [%s]", o->fallback);
        buf_printf(out, "\n");
    }
    buf_printf(
        out,
        "\nEach may also be set in the environment (MILLRACE_LISTEN for --listen; DATABASE_URL is understood), or in\n"
        "DATA-DIR/millrace.conf as `listen = 127.0.0.1:7070`. A flag wins over the environment, that over the file.\n");
}

void config_markdown(struct buf *out)
{
    buf_printf(out, "| flag, name in the file | environment | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option *o = &options[i];
        char env[64];
        env_name(o, env);
        buf_printf(out, "| `--%s` | `%s` | %s | %s |\n", o->name, env,
                   o->fallback ? (o->fallback[0] ? o->fallback : "–") : "see there", o->help);
    }
}
