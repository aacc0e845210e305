# count.awk -- counts tests in the output of ctest -V and prints
# "PASSED FAILED": what each test says of itself ("N passed, N failed", or the
# summary of cmocka), else one for the test; a test that failed without naming
# a failure counts as one, and one that was skipped as none.
match($0, /^[0-9]+: /) {
  id = substr($0, 1, RLENGTH - 2)
  line = substr($0, RLENGTH + 1)
  if (line ~ /^[0-9]+ passed, [0-9]+ failed$/) {
    split(line, w, /[ ,]+/)
    pass[id] += w[1]; fail[id] += w[3]; told[id] = 1
  } else if (line ~ /^\[  PASSED  \] [0-9]+ test\(s\)/) {
    split(line, w, " "); pass[id] += w[4]; told[id] = 1
  } else if (line ~ /^\[  FAILED  \] [0-9]+ test\(s\)/) {
    split(line, w, " "); fail[id] += w[4]; told[id] = 1
  }
}
/^ *[0-9]+\/[0-9]+ Test +#[0-9]+:/ {
  match($0, /#[0-9]+:/)
  id = substr($0, RSTART + 1, RLENGTH - 2)
  ended[id] = / Passed / ? "ok" : /\*\*\*Skipped / ? "skipped" : "bad"
}
END {
  for (id in ended) {
    if (ended[id] == "skipped") continue
    p += pass[id]; f += fail[id]
    if (ended[id] == "bad" && fail[id] == 0) f++
    if (ended[id] == "ok" && !told[id]) p++
  }
  print p + 0, f + 0
}
