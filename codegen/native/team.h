/* team.h -- threads that wait for work: a launch is cut into parts, and each part
 * runs on one of them or on the caller, whoever is there first.  Idle threads sleep. */
#ifndef RVM_CODEGEN_NATIVE_TEAM_H
#define RVM_CODEGEN_NATIVE_TEAM_H
#include <stdbool.h>

enum { TEAM_MOST = 64 };                     /* threads of a team             */
typedef struct Team Team;
/* So many threads, at most TEAM_MOST, the caller of team_run among them; NULL:
 * fewer than two, or they cannot be had. */
Team *team_new(int threads);
void  team_free(Team *p);                    /* NULL is fine; no team_run is under way */
int   team_threads(const Team *p);           /* 1 of NULL                     */
/* fn(ctx, 0) ... fn(ctx, team_threads(p) - 1), at the same time where cores are free,
 * else some of them one after the other on the caller; returns when all have.  false: others are
 * using the team, nothing was called. */
bool  team_run(Team *p, void (*fn)(void *ctx, int part), void *ctx);
#endif
