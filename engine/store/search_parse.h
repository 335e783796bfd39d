/* The grammar of filters: see search.h. Pure. */
#ifndef MILLRACE_STORE_SEARCH_PARSE_H
#define MILLRACE_STORE_SEARCH_PARSE_H

#include <stdarg.h>
#include <stdio.h>

#include "engine/store/search.h"

/* Terms in the arena; their strings may point into the filter. */
MUST_CHECK bool search_parse(struct str filter, struct arena *a, struct search_term **out, size_t *n, struct err *err);

#endif
