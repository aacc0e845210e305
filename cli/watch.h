/* watch.h -- a run that can be interrupted, and that says it is still there.   */
#ifndef RVM_CLI_WATCH_H
#define RVM_CLI_WATCH_H
#include <rvm/rvm.h>

typedef struct Watch Watch;
/* From here to watch_end, ^C calls rvm_interrupt(vm) (a second one ends the
 * process with 130), and when stderr is a terminal a line there shows the time
 * that has passed.  NULL when that cannot be had; watch_end takes it. */
Watch *watch_start(rvm_instance *vm);
void   watch_end(Watch *w);
#endif
