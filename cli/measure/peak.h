/* peak.h -- what this core can do at most, for the roofline (Williams et al. 2009). */
#ifndef RVM_CLI_PEAK_H
#define RVM_CLI_PEAK_H
#include <stddef.h>

enum { PEAK_LEVELS = 3 };
typedef struct {
  double flops;                              /* float32 operations per second, a multiply-add is two */
  double bytes[PEAK_LEVELS];                 /* read per second, from a block of ... */
  size_t block[PEAK_LEVELS];                 /* ... so many bytes, read again and again */
  double seconds;                            /* what measuring took           */
} Peak;

/* Measures, on the calling thread, in less than a tenth of a second. */
Peak peak_measure(void);
/* Peak.flops alone, in a few milliseconds. */
double peak_flops(void);
/* Bytes per second that data of this size is read with. */
double peak_bandwidth(const Peak *p, double bytes);
#endif
