/* A plan as a picture: Graphviz and Mermaid sources. Pure text, for the CLI and the API. */
#ifndef MILLRACE_FLOW_DRAW_H
#define MILLRACE_FLOW_DRAW_H

#include "engine/base/buf.h"
#include "engine/flow/plan.h"

void draw_dot(struct buf *out, const struct plan *p);     /* https://graphviz.org/doc/info/lang.html */
void draw_mermaid(struct buf *out, const struct plan *p); /* https://mermaid.js.org/syntax/flowchart.html */

#endif
