/* profile.h -- where a run's time goes: a clock around every launch of a kernel.
 *
 * Works with every engine; kernels that --engine=native has put in line with
 * the code around them are not launched and count as control flow.            */
#ifndef RVM_CLI_PROFILE_H
#define RVM_CLI_PROFILE_H
#include <stdbool.h>
#include <stdio.h>
#include <rvm/rvm.h>

typedef struct Profile Profile;
/* Before any instance of p is made, after an engine has been plugged in.  With
 * `trace`, the launches of the last run are kept one by one, the first million. */
Profile *profile_new(rvm_program *p, bool trace);
/* Around each run; what is launched outside is not counted. */
void profile_begin(Profile *f);
void profile_end(Profile *f);
/* The kernels, the slowest first; below 0.1 % of the time they share a line. */
void profile_table(const Profile *f, FILE *to);
/* Chrome's trace format (also Perfetto's); NULL or a sentence. */
const char *profile_trace(const Profile *f, const char *path);
#endif
