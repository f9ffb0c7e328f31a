#!/bin/sh
# One step of `make setup`: run a command whose output goes to a file, and say now and then how far it is.
#
#   quietly.sh LOG STEP PACKAGES COMMAND...
#
# LOG is added to. STEP says what is done and what it takes. PACKAGES is how many the command fetches, 0 for none.
# Where the command fails, the last lines of LOG are shown, and its exit code is that of this script.
set -u
log=$1 step=$2 packages=$3
shift 3

say_how_far() {
    if [ "$packages" -eq 0 ]; then
        echo "         $1 s"
    elif grep -q '^Installing collected packages' "$log"; then
        echo "         $1 s: all fetched, unpacking"
    else
        echo "         $1 s: $(grep -c '^Collecting' "$log") of $packages fetched"
    fi
}

echo "    $step"
echo "== $step" >> "$log"
(
    seconds=0
    while sleep 1 > /dev/null 2>&1; do
        seconds=$((seconds + 1))
        [ $((seconds % ${EVERY_S:-10})) -ne 0 ] || say_how_far "$seconds"
    done
) &
ticker=$!
trap 'kill "$ticker" 2> /dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$@" >> "$log" 2>&1
code=$?
if [ "$code" -ne 0 ]; then
    {
        echo "==> This step failed: $step"
        tail -n 15 "$log" | sed 's/^/    /'
        echo "==> All that was said is in $log. Mend what it says there, and run the same command again."
    } >&2
fi
exit "$code"
