/* Which of a step's keys ask for what nodes have too little of: kube-scheduler names resources, and not who asked for
 * them. Pure. */
#ifndef MILLRACE_SCHEDULER_KUBE_ROOM_H
#define MILLRACE_SCHEDULER_KUBE_ROOM_H

#include "engine/base/arena.h"
#include "engine/base/str.h"

/* " (see the step's resources.cpu)", to stand behind what it says of a pod; empty = it lacks nothing of the kind. */
struct str kube_room_keys(struct str said, struct arena *a);

#endif
