/* Flavors: kinds of GPU, and how nodes offer them. */
#ifndef MILLRACE_PLACE_FLAVOR_H
#define MILLRACE_PLACE_FLAVOR_H

#include "engine/base/str.h"

#define PLACE_NONE UINT32_MAX
#define PLACE_GPU 1000 /* a whole one, in the unit of GPUs */

struct place_pair { /* a label, or a taint with the effect NoSchedule or NoExecute */
    struct str key, value;
};

struct place_flavor {
    struct str name;                 /* a100 */
    struct str resource;             /* extended resource: nvidia.com/gpu, nvidia.com/mig-1g.5gb; or empty */
    bool described;                  /* its devices name it themselves: place_devices.of */
    const struct place_pair *labels; /* a node offers it only with all of these */
    size_t n_labels;
    const struct place_pair *tolerates; /* taints: of the value "=v" those that have v, of an empty one all; without a
                                         * key all there are */
    size_t n_tolerates;
    bool shared;   /* several pods may have parts of one GPU */
    double weight; /* of one GPU in the fair share; 0 = 1 */
};

struct place_offer { /* of a node */
    uint32_t flavor;
    uint32_t gpus;
    uint32_t taken; /* of them by pods that are no workloads */
};

struct place_devices { /* of a node: what it says it has */
    struct str name;   /* of the extended resource, or of the driver */
    uint32_t n;
    uint32_t taken;       /* of them by pods that are no workloads */
    const struct str *of; /* flavors that they fit; none = those of the resource */
    size_t n_of;
};

/* Which flavors a node offers, by its labels, taints and devices. Each kind of device counts for the first flavor that
 * fits: list the special before the general. out has room for n_flavors; returns how many. */
size_t place_offers(const struct place_flavor *flavors, size_t n_flavors, const struct place_pair *labels,
                    size_t n_labels, const struct place_pair *taints, size_t n_taints,
                    const struct place_devices *devices, size_t n_devices, struct place_offer *out);

#endif
