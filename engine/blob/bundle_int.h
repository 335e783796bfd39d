/* Inside bundles: the rules that packing and unpacking share. */
#ifndef MILLRACE_BLOB_BUNDLE_INT_H
#define MILLRACE_BLOB_BUNDLE_INT_H

#include "engine/blob/bundle.h"

struct bundle_limits bundle_limits_or_default(const struct bundle_limits *limits);
/* May a link at `name` point to `target`? Only "..", as many as the link is deep, then names: then no chain of links
 * leads out of the tree. */
bool bundle_link_inside(struct str name, struct str target);

#endif
