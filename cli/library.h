/* library.h -- the functions and types of the library as their text tells them, for
 * `rvm ops` and docs/library.md.                                              */
#ifndef RVM_CLI_LIBRARY_H
#define RVM_CLI_LIBRARY_H

/* A line for each, behind the operators. */
void library_list(void);
/* Those whose name contains one of n names, with their documentation; how many. */
int  library_show(int n, char **names);
/* All as Markdown. */
void library_md(void);
#endif
