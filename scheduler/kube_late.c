/* See kube_late.h. */
#include "scheduler/kube_late.h"

#define WHOLE_US ((int64_t)1000000) /* what whole seconds may hide */
#define FADES 64                    /* ends until about two thirds of it are gone */

int64_t kube_late_heard(int64_t late_us, int64_t seemed_us, int64_t ran_us)
{
    int64_t heard = seemed_us - ran_us - WHOLE_US, faded = late_us - late_us / FADES;
    if (heard > KUBE_LATE_MOST_US) heard = KUBE_LATE_MOST_US;
    return heard > faded ? heard : faded;
}

int64_t kube_follow_after_us(int64_t late_us)
{
    return KUBE_FOLLOW_LEAST_US + late_us + late_us / 2; /* in a crowd the next one may be later still */
}
