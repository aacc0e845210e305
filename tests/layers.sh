#!/bin/sh
# layers.sh [ROOT] -- who may look at whom: every #include against the table of
# the architecture, and nothing outside the command prints or ends the process.
cd "${1:-$(dirname "$0")/..}" || exit 2
bad=0
complain() { echo "$1"; bad=$((bad + 1)); }

# What a folder may include, as one extended regular expression: its own files,
# the folders below it, and of those only some files where so written.
rt='base/(dtype\.(h|def)|checked\.h)|rvm/.*'
allowed() {
  case $1 in
    base)      echo 'base/.*' ;;
    kernel)    echo "kernel/.*|$rt" ;;
    vm)        echo "vm/.*|kernel/.*|$rt" ;;
    ir)        echo '(ir|base)/.*' ;;
    parser)    echo '(parser|ir|base)/.*' ;;
    typeinfer) echo '(typeinfer|ir|base)/.*' ;;
    stdlib)    echo '(stdlib|typeinfer|kernel|ir|base)/.*' ;;
    opt)       echo '(opt|ir|base)/.*' ;;
    autodiff)  echo '(autodiff|ir|base)/.*' ;;
    codegen)   echo '(codegen|ir|kernel|vm|base|rvm)/.*' ;;
    include)   echo 'rvm/.*' ;;
    cli/file)  echo '(cli/file|ir|base)/.*' ;;
    cli/measure) echo '(cli/measure|vm|kernel|base|rvm)/.*' ;;
    cli*)      echo '.*' ;;
  esac
}

folders='base kernel vm ir parser typeinfer stdlib opt autodiff codegen include cli'
for folder in $folders; do
  for f in $(find "$folder" -name '*.[ch]' -o -name '*.def' 2>/dev/null | sort); do
    ok=$(allowed "$([ "$folder" = cli ] && dirname "$f" || echo "$folder")")
    # "file.h" and <rvm/...> are ours; other <...> belong to the system.
    for inc in $(sed -n 's/^[ \t]*#[ \t]*include[ \t]*\(["<][^">]*[">]\).*/\1/p' "$f"); do
      name=$(echo "$inc" | tr -d '<>"')
      case $inc in
        '<gc.h>' | '<gc/'*) [ "$f" = base/mem.c ] || complain "$f: only base/mem.c includes $inc" ;;
        '<llvm'*) case $f in codegen/llvm/*) ;; *) complain "$f: only codegen/llvm includes $inc" ;; esac ;;
        '<rvm/'* | '"'*)
          echo "$name" | grep -Eqx "$ok" || complain "$f: $folder/ may not include $inc"
          [ -e "$name" ] || [ -e "include/$name" ] || [ "$folder" = cli ] ||
            complain "$f: $inc is not a path from the root" ;;
      esac
    done
    [ "$folder" = cli ] && continue
    # Without comments and strings (line numbers kept), no call of these.
    calls=$(perl -0777 -pe 's{/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"}{my $x = $&; $x =~ s/[^\n]//g; $x}gse' "$f" |
      grep -nE '(^|[^A-Za-z0-9_.>])(_?exit|_Exit|abort|v?f?printf|f?puts|putchar|fputc|putc|perror)[ ]*\(')
    [ -z "$calls" ] || complain "$f: prints or ends the process outside cli/:
$calls"
  done
done
[ "$bad" -eq 0 ] && echo "1 passed, 0 failed" && exit 0
echo "0 passed, 1 failed"
exit 1
