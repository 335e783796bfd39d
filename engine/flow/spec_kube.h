/* The syntax of Kubernetes' names, by which its API server would refuse what a document says: refused with its place
 * instead. The values are of the document; nothing is kept.
 * https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
 * https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set */
#ifndef MILLRACE_FLOW_SPEC_KUBE_H
#define MILLRACE_FLOW_SPEC_KUBE_H

#include "engine/flow/spec.h"

/* An object's name (RFC 1123, subdomain), at most 253 characters; out is a struct str, or NULL. */
void spec_kube_object(struct spec *s, const struct spec_at *at, const struct value *v, void *out);
/* The name of a container or a volume in a pod (RFC 1123, label), at most 63 characters. */
void spec_kube_part(struct spec *s, const struct spec_at *at, const struct value *v, void *out);
/* The value of a label or a taint, at most 63 characters; may be empty. */
void spec_kube_label(struct spec *s, const struct spec_at *at, const struct value *v, void *out);
/* The key of a label, an annotation or a taint: [DOMAIN/]NAME. `v` is where it stands, NULL = it is the key at `at`. */
bool spec_kube_key(struct spec *s, const struct spec_at *at, struct str key, const struct value *v);
/* The same as a leaf: of a taint, or an extended resource; out is a struct str, or NULL. */
void spec_kube_taint(struct spec *s, const struct spec_at *at, const struct value *v, void *out);
/* A label with its value, for spec_each. */
void spec_kube_pair(struct spec *s, const struct spec_at *at, struct str key, const struct value *v, void *out,
                    size_t i);
/* NAME/KEY of {secret: {kubernetes: NAME/KEY}}; `v` is that map. */
void spec_kube_secret(struct spec *s, const struct spec_at *at, const struct value *v, struct str secret);

#endif
