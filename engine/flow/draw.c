/* Pictures of plans: see draw.h. Sub-pipelines are drawn as clusters beside, with an arrow from the step that calls
 * them. */
#include "engine/flow/draw.h"

#include "engine/base/value.h"

/* Shapes by verb: boxes work, ellipses compute, diamonds wait for somebody. */
static const struct {
    const char *dot;
    const char *open, *close; /* of Mermaid */
} shapes[] = {
    [VERB_RUN] = {"box", "[", "]"},         [VERB_SCRIPT] = {"box", "[", "]"},
    [VERB_IMAGE] = {"box", "[", "]"},       [VERB_PIPELINE] = {"component", "[[", "]]"},
    [VERB_EXPR] = {"ellipse", "([", "])"},  [VERB_HTTP] = {"cds", ">", "]"},
    [VERB_WAIT] = {"hexagon", "{{", "}}"},  [VERB_APPROVAL] = {"diamond", "{", "}"},
    [VERB_IMPORT] = {"folder", "[(", ")]"}, [VERB_NOOP] = {"point", "((", "))"},
};

/* What stands under the name: the loop, the condition. */
static struct str subtitle(const struct node *n)
{
    if (n->product) return STR("for each combination");
    if (n->loop) return n->foreach.source;
    if (n->when) return n->when_source;
    return STR("");
}

static void quoted(struct buf *out, struct str s)
{
    struct value v = value_string(s);
    value_json(out, &v, false);
}

static void dot_node(struct buf *out, const struct graph *g, uint32_t number, uint32_t i)
{
    const struct node *n = &g->nodes[i];
    struct str below = str_sub(subtitle(n), 0, 60);
    BUF_AUTO label;
    buf_init(&label, 0);
    buf_str(&label, n->name);
    if (below.n) buf_printf(&label, "\n%s %.*s", n->loop ? "foreach" : "when", STR_ARG(below));
    buf_printf(out, "    n%u_%u [shape=%s, label=", number, i, n->verb == VERB_NOOP ? "circle" : shapes[n->verb].dot);
    quoted(out, buf_view(&label));
    if (n->loop) buf_c(out, ", peripheries=2");
    if (i >= g->n_nodes - g->n_exit) buf_c(out, ", style=dashed");
    buf_c(out, "];\n");
}

void draw_dot(struct buf *out, const struct plan *p)
{
    buf_c(out, "digraph ");
    quoted(out, p->name);
    buf_c(out, " {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    for (uint32_t k = 0; k < p->n_graphs; k++) {
        const struct graph *g = &p->graphs[k];
        buf_printf(out, "  subgraph %s%u {\n    label=", k ? "cluster_" : "main_", k);
        quoted(out, g->name);
        buf_c(out, ";\n");
        for (uint32_t i = 0; i < g->n_nodes; i++)
            dot_node(out, g, k, i);
        for (uint32_t i = 0; i < g->n_nodes; i++) {
            for (uint32_t d = 0; d < g->nodes[i].n_deps; d++)
                buf_printf(out, "    n%u_%u -> n%u_%u;\n", k, g->nodes[i].deps[d], k, i);
        }
        buf_c(out, "  }\n");
    }
    for (uint32_t k = 0; k < p->n_graphs; k++) {
        for (uint32_t i = 0; i < p->graphs[k].n_nodes; i++) {
            const struct node *n = &p->graphs[k].nodes[i];
            if (n->verb == VERB_PIPELINE && p->graphs[n->graph].n_nodes)
                buf_printf(out, "  n%u_%u -> n%u_0 [style=dotted, lhead=cluster_%u];\n", k, i, n->graph, n->graph);
        }
    }
    buf_c(out, "}\n");
}

/* Mermaid's texts know no backslash: quotes and markup become entities. */
static void mermaid_text(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"')
            buf_c(out, "#quot;");
        else if (c == '<')
            buf_c(out, "#lt;");
        else if (c == '>')
            buf_c(out, "#gt;");
        else if (c == '#')
            buf_c(out, "#35;");
        else
            buf_char(out, c < 0x20 ? ' ' : (char)c);
    }
}

static void mermaid_node(struct buf *out, const struct graph *g, uint32_t number, uint32_t i)
{
    const struct node *n = &g->nodes[i];
    struct str below = str_sub(subtitle(n), 0, 60);
    buf_printf(out, "    n%u_%u%s\"", number, i, shapes[n->verb].open);
    mermaid_text(out, n->name);
    if (below.n) {
        buf_printf(out, "<br/>%s ", n->loop ? "foreach" : "when");
        mermaid_text(out, below);
    }
    buf_printf(out, "\"%s\n", shapes[n->verb].close);
}

void draw_mermaid(struct buf *out, const struct plan *p)
{
    buf_c(out, "flowchart LR\n");
    for (uint32_t k = 0; k < p->n_graphs; k++) {
        const struct graph *g = &p->graphs[k];
        if (k) {
            buf_printf(out, "  subgraph g%u[\"", k);
            mermaid_text(out, g->name);
            buf_c(out, "\"]\n");
        }
        for (uint32_t i = 0; i < g->n_nodes; i++)
            mermaid_node(out, g, k, i);
        for (uint32_t i = 0; i < g->n_nodes; i++) {
            for (uint32_t d = 0; d < g->nodes[i].n_deps; d++)
                buf_printf(out, "    n%u_%u --> n%u_%u\n", k, g->nodes[i].deps[d], k, i);
        }
        if (k) buf_c(out, "  end\n");
    }
    for (uint32_t k = 0; k < p->n_graphs; k++) {
        for (uint32_t i = 0; i < p->graphs[k].n_nodes; i++) {
            const struct node *n = &p->graphs[k].nodes[i];
            if (n->verb == VERB_PIPELINE) buf_printf(out, "  n%u_%u -.-> g%u\n", k, i, n->graph);
        }
    }
}
