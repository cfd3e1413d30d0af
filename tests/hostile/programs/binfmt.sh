# binfmt.sh INTERPRETER MAGIC FOLDER PROGRAM WORD: as root of a user namespace, makes INTERPRETER what runs
# the files that begin with MAGIC, and runs PROGRAM. Ends with 77 if the kernel allows this to root only.
set -eu
mount -t binfmt_misc none "$3" || exit 77
printf %s ":hostile:M::$2::$1:" >"$3/register"
"$4" "$5"
