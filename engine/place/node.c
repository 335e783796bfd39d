/* One node: what it has free in each ledger, and who takes which of its GPUs.
 *
 * GPUs of an ordinary flavor are counted; those of a shared one are told apart, so that two halves go on one GPU and
 * nobody counts two half-free ones as a whole. */
#include "engine/place/place_inner.h"

static int16_t device_free(const struct node *n, uint32_t d, unsigned ledgers)
{
    int16_t least = PLACE_GPU;
    for (unsigned l = 0; l < LEDGERS; l++)
        if ((ledgers & IN(l)) && n->devices[l][d] < least) least = n->devices[l][d];
    return least;
}

static bool shared(const struct node *n, const struct offer *o)
{
    return n->n_devices > 0 && o->first != PLACE_NONE;
}

static int64_t least_of(const int64_t *v, unsigned ledgers)
{
    int64_t least = INT64_MAX;
    for (unsigned l = 0; l < LEDGERS; l++)
        if ((ledgers & IN(l)) && v[l] < least) least = v[l];
    return least;
}

static int64_t whole_free(const struct offer *o, unsigned ledgers)
{
    int64_t least = INT32_MAX;
    for (unsigned l = 0; l < LEDGERS; l++)
        if ((ledgers & IN(l)) && o->free[l] < least) least = o->free[l];
    return least;
}

/* Pods by GPUs alone; *left: how much is free where it would go. */
static int64_t gpu_room(const struct node *n, const struct offer *o, uint32_t gpu, unsigned ledgers, int64_t *left)
{
    if (!shared(n, o)) {
        *left = whole_free(o, ledgers);
        return gpu % PLACE_GPU != 0 || *left < 0 ? 0 : *left / (gpu / PLACE_GPU);
    }
    int64_t pods = 0, whole = 0, best = INT64_MAX;
    for (uint32_t d = o->first; d < o->first + o->n; d++) {
        int16_t free = device_free(n, d, ledgers);
        whole += free == PLACE_GPU;
        if (gpu >= PLACE_GPU || free < (int)gpu) continue;
        pods += free / (int)gpu;
        if (free < best) best = free;
    }
    *left = gpu >= PLACE_GPU ? whole : best == INT64_MAX ? 0 : best;
    return gpu >= PLACE_GPU ? whole / (gpu / PLACE_GPU) : pods;
}

uint32_t node_room(const struct node *n, uint32_t offer, const struct shape_key *key, unsigned ledgers, int64_t *score)
{
    int64_t cpu = least_of(n->cpu, ledgers), memory = least_of(n->memory, ledgers), pods = INT32_MAX, left = 0;
    if (!selector_takes(key, n)) return 0;
    if (key->gpu > 0) {
        if (offer == PLACE_NONE) return 0;
        pods = gpu_room(n, &n->offers[offer], key->gpu, ledgers, &left);
    } else {
        for (uint32_t i = 0; i < n->n_offers; i++)
            left += n->offers[i].n; /* without a GPU: rather where there are none */
    }
    if (key->cpu > 0 && pods > cpu / key->cpu) pods = cpu / key->cpu;
    if (key->memory > 0 && pods > memory / key->memory) pods = memory / key->memory;
    if (pods <= 0) return 0;
    int64_t most = ((int64_t)1 << 40) - 1;
    if (score != NULL) *score = left * (most + 1) + (cpu > most ? most : cpu);
    return (uint32_t)pods;
}

/* The fullest one that has room; else, where reality has overtaken us, the emptiest. */
static uint32_t pick_device(const struct node *n, const struct offer *o, int16_t amount, unsigned ledgers,
                            uint64_t taken)
{
    uint32_t best = PLACE_NONE, emptiest = PLACE_NONE;
    int16_t best_free = INT16_MAX, most = INT16_MIN;
    for (uint32_t d = o->first; d < o->first + o->n; d++) {
        int16_t free = device_free(n, d, ledgers);
        if (taken >> d & 1) continue;
        if (free >= amount && free < best_free) best_free = free, best = d;
        if (free > most) most = free, emptiest = d;
    }
    return best != PLACE_NONE ? best : emptiest;
}

static int16_t of_device(const struct shape_key *key)
{
    return (int16_t)(key->gpu < PLACE_GPU ? key->gpu : PLACE_GPU);
}

void node_book(struct node *n, uint32_t offer, const struct shape_key *key, unsigned ledgers, int sign,
               const struct pod *pod)
{
    struct offer *o = key->gpu == 0 || offer == PLACE_NONE ? NULL : &n->offers[offer];
    for (unsigned l = 0; l < LEDGERS; l++) {
        if (!(ledgers & IN(l))) continue;
        n->cpu[l] -= sign * key->cpu;
        n->memory[l] -= sign * key->memory;
        if (o == NULL) continue;
        if (!shared(n, o)) {
            o->free[l] -= sign * (int32_t)(key->gpu / PLACE_GPU);
            continue;
        }
        for (uint32_t d = o->first; d < o->first + o->n; d++) {
            if (!(pod->devices >> d & 1)) continue;
            o->free[l] -= n->devices[l][d] == PLACE_GPU;
            n->devices[l][d] = (int16_t)(n->devices[l][d] - sign * of_device(key));
            o->free[l] += n->devices[l][d] == PLACE_GPU;
        }
    }
}

void node_take(struct node *n, uint32_t offer, const struct shape_key *key, unsigned ledgers, struct pod *pod)
{
    pod->devices = 0;
    if (key->gpu > 0 && offer != PLACE_NONE && shared(n, &n->offers[offer])) {
        for (uint32_t k = (key->gpu + PLACE_GPU - 1) / PLACE_GPU; k > 0; k--) {
            uint32_t d = pick_device(n, &n->offers[offer], of_device(key), ledgers, pod->devices);
            if (d != PLACE_NONE) pod->devices |= (uint64_t)1 << d;
        }
    }
    node_book(n, offer, key, ledgers, 1, pod);
}

bool node_takes(const struct node *n, uint32_t offer, const struct shape_key *key, unsigned ledger,
                const struct pod *pod)
{
    if (n->cpu[ledger] < key->cpu || n->memory[ledger] < key->memory) return false;
    if (key->gpu == 0) return true;
    if (offer == PLACE_NONE) return false;
    const struct offer *o = &n->offers[offer];
    if (!shared(n, o)) return o->free[ledger] >= (int32_t)(key->gpu / PLACE_GPU);
    int amount = of_device(key);
    for (uint32_t d = o->first; d < o->first + o->n; d++)
        if ((pod->devices >> d & 1) && n->devices[ledger][d] < amount) return false;
    return true;
}

uint32_t node_ever(const struct node *n, uint32_t offer, const struct shape_key *key)
{
    int64_t pods = INT32_MAX;
    if (!selector_takes(key, n)) return 0;
    if (key->gpu > 0) {
        if (offer == PLACE_NONE) return 0;
        const struct offer *o = &n->offers[offer];
        if (key->gpu >= PLACE_GPU)
            pods = o->n / (key->gpu / PLACE_GPU);
        else
            pods = shared(n, o) ? o->n * (int64_t)(PLACE_GPU / key->gpu) : 0;
    }
    if (key->cpu > 0 && pods > n->total_cpu / key->cpu) pods = n->total_cpu / key->cpu;
    if (key->memory > 0 && pods > n->total_memory / key->memory) pods = n->total_memory / key->memory;
    return pods <= 0 ? 0 : (uint32_t)pods;
}

uint32_t node_offer(const struct node *n, uint32_t flavor)
{
    for (uint32_t i = 0; i < n->n_offers; i++)
        if (n->offers[i].flavor == flavor) return i;
    return PLACE_NONE;
}

bool node_hosts(const struct node *n, uint32_t flavor, const struct shape_key *key)
{
    return key->gpu == 0 || node_offer(n, flavor) != PLACE_NONE;
}

void node_reset(struct node *n, unsigned ledger)
{
    n->cpu[ledger] = n->total_cpu - n->other_cpu;
    n->memory[ledger] = n->total_memory - n->other_memory;
    for (uint32_t d = 0; d < n->n_devices; d++)
        n->devices[ledger][d] = PLACE_GPU;
    for (uint32_t i = 0; i < n->n_offers; i++) {
        struct offer *o = &n->offers[i];
        o->free[ledger] = (int32_t)(o->n - o->taken);
        for (uint32_t d = 0; shared(n, o) && d < o->taken; d++)
            n->devices[ledger][o->first + d] = 0;
    }
}

void node_copy(struct node *n, unsigned to, unsigned from)
{
    n->cpu[to] = n->cpu[from];
    n->memory[to] = n->memory[from];
    for (uint32_t i = 0; i < n->n_offers; i++)
        n->offers[i].free[to] = n->offers[i].free[from];
    for (uint32_t d = 0; d < n->n_devices; d++)
        n->devices[to][d] = n->devices[from][d];
}

int64_t node_gpus_free(const struct node *n, uint32_t offer, unsigned ledgers)
{
    const struct offer *o = &n->offers[offer];
    int64_t sum = 0, whole = whole_free(o, ledgers);
    if (!shared(n, o)) return whole > 0 ? whole * PLACE_GPU : 0;
    for (uint32_t d = o->first; d < o->first + o->n; d++)
        sum += device_free(n, d, ledgers) > 0 ? device_free(n, d, ledgers) : 0;
    return sum;
}

/* The most of what the shape asks for that it has: of GPUs when it wants some, else of CPU. */
int64_t node_most(const struct node *n, uint32_t offer, const struct shape_key *key, bool empty)
{
    if (!selector_takes(key, n)) return 0;
    if (key->gpu == 0) return empty ? n->total_cpu : least_of(n->cpu, IN_BOTH);
    if (offer == PLACE_NONE) return 0;
    const struct offer *o = &n->offers[offer];
    if (empty) return (int64_t)o->n * PLACE_GPU;
    int64_t most = whole_free(o, IN_BOTH) * PLACE_GPU;
    for (uint32_t d = o->first; shared(n, o) && most <= 0 && key->gpu < PLACE_GPU && d < o->first + o->n; d++)
        if (device_free(n, d, IN_BOTH) > most) most = device_free(n, d, IN_BOTH);
    return most < 0 ? 0 : most;
}

static const enum place_resource in_order[] = {PLACE_RESOURCE_GPU, PLACE_RESOURCE_CPU, PLACE_RESOURCE_MEMORY};

static int64_t needed(const struct shape_key *key, enum place_resource r)
{
    return r == PLACE_RESOURCE_GPU ? key->gpu : r == PLACE_RESOURCE_CPU ? key->cpu : key->memory;
}

static int64_t had(const struct node *n, uint32_t offer, const struct shape_key *key, enum place_resource r, bool empty)
{
    if (r == PLACE_RESOURCE_GPU) return node_most(n, offer, key, empty);
    int64_t free = least_of(r == PLACE_RESOURCE_CPU ? n->cpu : n->memory, IN_BOTH);
    return empty ? (r == PLACE_RESOURCE_CPU ? n->total_cpu : n->total_memory) : free;
}

void most_add(struct most *m, const struct node *n, uint32_t offer, const struct shape_key *key, bool empty)
{
    for (size_t i = 0; selector_takes(key, n) && i < 3; i++) {
        enum place_resource r = in_order[i];
        if (needed(key, r) == 0) continue;
        int64_t has = had(n, offer, key, r, empty);
        if (has > m->of[r]) m->of[r] = has;
        if (has < needed(key, r)) break;
    }
}

enum place_resource most_lacks(const struct most *m, const struct shape_key *key, int64_t *need, int64_t *had)
{
    enum place_resource lacks = key->gpu > 0 ? PLACE_RESOURCE_GPU : PLACE_RESOURCE_CPU;
    for (size_t i = 0; i < 3; i++) {
        if (m->of[in_order[i]] >= needed(key, in_order[i])) continue;
        lacks = in_order[i];
        break;
    }
    *need = needed(key, lacks);
    *had = m->of[lacks];
    return lacks;
}
