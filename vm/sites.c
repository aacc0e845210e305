/* sites.c -- see sites.h. */
#include "vm/sites.h"

void image_launch_sites(const Image *m, LaunchSites *of) {
  for (uint32_t k = 0; k < m->n_kernels; k++) of[k] = (LaunchSites){0};
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    const IFunc *f = &m->func[i];
    for (uint32_t pc = 0; pc < f->n_code; pc++) {
      Ins in = m->code[f->code + pc];
      if (in.op != OP_KERNEL) continue;
      LaunchSites *s = &of[m->pool[ins_w(in)]];
      s->n++;
      if (!s->first) s->first = image_line(m, f, pc);
    }
  }
}
