/* See launcher_journal.h. */
#include "engine/os/launcher_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/os/clock.h"
#include "engine/os/digest.h"
#include "engine/os/fs.h"

#define JOURNAL "journal"
#define COMPACT_BYTES (1u << 20)
#define RECORD_BYTES (1024 + LAUNCHER_NOTE_MAX) /* no frame of a record is longer */

static void boot_id(char out[64])
{
    BUF_AUTO text;
    buf_init(&text, 128);
    out[0] = '\0';
    if (fs_read("/proc/sys/kernel/random/boot_id", 64, &text, NULL))
        snprintf(out, 64, "%.*s", STR_ARG(str_trim(buf_view(&text))));
}

struct record *journal_find(const struct journal *j, struct str name)
{
    uint64_t i;
    return map_get(&j->by_name, name, &i) ? j->records[i] : NULL;
}

struct record *journal_add(struct journal *j, struct str name)
{
    struct record *r = calloc(1, sizeof *r);
    if (j->n == j->room) {
        j->room = j->room ? 2 * j->room : 64;
        j->records = realloc(j->records, j->room * sizeof *j->records);
    }
    if (!r || !j->records) abort();
    memcpy(r->name, name.p, name.n);
    r->event.name = str_of(r->name);
    r->event.code = -1;
    r->error_fd = -1;
    r->at = j->n;
    j->records[j->n++] = r;
    map_put(&j->by_name, r->event.name, r->at, NULL);
    return r;
}

static void drop(struct journal *j, struct record *r)
{
    map_del(&j->by_name, r->event.name);
    struct record *last = j->records[--j->n];
    if (last != r) {
        last->at = r->at;
        j->records[last->at] = last;
        map_put(&j->by_name, last->event.name, last->at, NULL);
    }
    free(r->note);
    free(r);
}

void journal_forget(struct journal *j, struct record *r)
{
    launcher_put_name(&j->pending, FRAME_ACK, r->event.name);
    drop(j, r);
}

void record_set_error(struct record *r, const char *text)
{
    snprintf(r->error, sizeof r->error, "%s", text);
    r->event.error = str_of(r->error);
}

void record_set_note(struct record *r, struct str note)
{
    char *copy = note.n > 0 ? strndup(note.p, note.n) : NULL;
    if (note.n > 0 && copy == NULL) abort();
    free(r->note);
    r->note = copy;
    r->event.note = (struct str){copy, note.n};
}

void journal_put(struct buf *out, const struct record *r)
{
    static const enum launcher_frame kinds[] = {[RECORD_INTENT] = FRAME_INTENT,
                                                [RECORD_RUNNING] = FRAME_STARTED,
                                                [RECORD_ENDED] = FRAME_ENDED,
                                                [RECORD_LOST] = FRAME_LOST};
    if (r->state == RECORD_INTENT)
        launcher_put_name(out, FRAME_INTENT, r->event.name);
    else
        launcher_put_event(out, kinds[r->state], &r->event, r->ticks);
}

void journal_note(struct journal *j, const struct record *r)
{
    journal_put(&j->pending, r);
}

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno != EINTR) return false;
        if (n > 0) bytes = str_sub(bytes, (size_t)n, bytes.n);
    }
    return true;
}

static void put_head(struct journal *j, struct buf *out)
{
    char boot[64];
    boot_id(boot);
    size_t begin = wire_begin(out, FRAME_HELLO);
    wire_u32(out, LAUNCHER_VERSION);
    wire_str(out, str_of(j->id));
    wire_str(out, str_of(boot));
    wire_end(out, begin);
}

/* Writes all that is alive into a new file in the place of the old. */
static bool compact(struct journal *j)
{
    BUF_AUTO all;
    buf_init(&all, 1u << 30);
    put_head(j, &all);
    for (size_t i = 0; i < j->n; i++)
        journal_put(&all, j->records[i]);
    int fd = open(JOURNAL ".new", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    if (!write_all(fd, buf_view(&all)) || rename(JOURNAL ".new", JOURNAL) != 0) {
        close(fd);
        return false;
    }
    if (j->fd >= 0) close(j->fd);
    j->fd = fd;
    j->bytes = all.n;
    buf_reset(&j->pending); /* and what was noted is in it */
    return true;
}

/* What could be written is not written again: the next call goes on at that very byte. */
static bool append_pending(struct journal *j)
{
    size_t done = 0;
    bool fine = true;
    while (fine && done < j->pending.n) {
        ssize_t n = write(j->fd, j->pending.p + done, j->pending.n - done);
        if (n > 0) done += (size_t)n;
        fine = n >= 0 || errno == EINTR;
    }
    int saved = errno;
    j->bytes += done;
    j->pending.n -= done;
    memmove(j->pending.p, j->pending.p + done, j->pending.n);
    errno = saved;
    return fine;
}

bool journal_flush(struct journal *j)
{
    if (j->pending.over) return compact(j); /* notes are missing, so all is written anew */
    if (j->pending.n == 0) return true;
    if (!append_pending(j)) return false;
    /* The notes are safe, whether or not there is room for a second file. */
    if (j->bytes > COMPACT_BYTES && j->bytes > 4 * j->n * sizeof(struct record) && !compact(j)) unlink(JOURNAL ".new");
    return true;
}

static bool replay_event(struct journal *j, enum record_state state, struct wire_reader *fields)
{
    struct launcher_event e;
    int64_t ticks;
    if (!launcher_get_event(fields, &e, &ticks)) return false;
    struct record *r = journal_find(j, e.name);
    if (!r) r = journal_add(j, e.name);
    char error[sizeof r->error];
    snprintf(error, sizeof error, "%.*s", STR_ARG(e.error));
    e.name = r->event.name;
    r->event = e;
    record_set_error(r, error);
    record_set_note(r, e.note);
    r->ticks = ticks;
    r->state = state;
    return true;
}

/* False when the journal is of another boot or version: then nothing of it counts. */
static bool replay_head(struct journal *j, struct wire_reader *fields)
{
    char boot[64];
    boot_id(boot);
    uint32_t version = wire_get_u32(fields);
    struct str id = wire_get_str(fields), of = wire_get_str(fields);
    if (fields->bad || version != LAUNCHER_VERSION || id.n == 0 || id.n > LAUNCHER_ID_MAX || !str_is(of, boot))
        return false;
    snprintf(j->id, sizeof j->id, "%.*s", STR_ARG(id));
    return true;
}

static bool replay_name(struct journal *j, uint8_t kind, struct wire_reader *fields)
{
    struct str name = wire_get_str(fields);
    if (!launcher_name_fine(name) || (kind != FRAME_ACK && kind != FRAME_INTENT)) return false;
    struct record *r = journal_find(j, name);
    if (kind == FRAME_ACK && r)
        drop(j, r);
    else if (kind == FRAME_INTENT && !r)
        journal_add(j, name);
    return true;
}

static bool replay_frame(struct journal *j, uint8_t kind, struct wire_reader *fields)
{
    if (kind == FRAME_STARTED) return replay_event(j, RECORD_RUNNING, fields);
    if (kind == FRAME_ENDED) return replay_event(j, RECORD_ENDED, fields);
    if (kind == FRAME_LOST) return replay_event(j, RECORD_LOST, fields);
    return replay_name(j, kind, fields);
}

/* False when anything but the last frame is damaged: what is missing then, nobody can say. */
static bool replay(struct journal *j, struct str bytes)
{
    size_t at = 0;
    uint8_t kind;
    struct wire_reader fields;
    bool broken;
    if (!wire_next(bytes, &at, &kind, &fields, &broken) || kind != FRAME_HELLO || !replay_head(j, &fields))
        return false;
    while (wire_next(bytes, &at, &kind, &fields, &broken))
        if (!replay_frame(j, kind, &fields)) return false;
    return !broken && bytes.n - at <= RECORD_BYTES;
}

static void new_id(struct journal *j)
{
    unsigned char random[8];
    os_random(random, sizeof random);
    digest_hex(random, sizeof random, j->id);
}

bool journal_open(struct journal *j, struct err *err)
{
    *j = (struct journal){.fd = -1};
    buf_init(&j->pending, 64u << 20);
    map_init(&j->by_name, 0);
    new_id(j);
    BUF_AUTO old;
    buf_init(&old, 1u << 30);
    struct err why;
    if (fs_read(JOURNAL, 1u << 30, &old, &why)) {
        if (!replay(j, buf_view(&old))) new_id(j);
    } else if (why.code != ERR_NOT_FOUND) {
        return err_set(err, why.code, "%s", why.message);
    }
    if (!compact(j)) return err_set(err, ERR_IO, "cannot write the launcher's journal: %s", strerror(errno));
    return true;
}
