/* sites.h -- where kernels are launched, for tools that name or time them. */
#ifndef RVM_VM_SITES_H
#define RVM_VM_SITES_H
#include "vm/image.h"

/* In how many places of the code, and the source of the first that has one (NULL: none has). */
typedef struct {
  uint32_t n;
  const ILine *first;
} LaunchSites;

/* Of each kernel of a verified image; of: room for m->n_kernels. */
void image_launch_sites(const Image *m, LaunchSites *of);
#endif
