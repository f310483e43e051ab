#!/bin/sh
# ruby-liquid 5.4.0: `x != blank` is true for an empty text, and for nil too.
#
# Incident products let users write webhook bodies in Liquid, and pages about it leave out an empty field by
# {% if x != blank %}. `blank` is a test only where ActiveSupport adds blank? to every object. In plain Ruby
# nothing equals it, so the empty field is sent.
# What this project does: docs/senders.md compares with "" and nil, and its test renders the templates.
#
# Seen 2026-11-28 with ruby-liquid=5.4.0-3, ruby 3.1:
#   "": [sent]
#   nil: [sent]
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
command -v ruby >/dev/null || { echo "needs ruby: apt-get install ruby"; exit 2; }
apt-get download -q ruby-liquid=5.4.0-3 >apt.log 2>&1 || { cat apt.log; exit 2; }
dpkg -x ./*.deb root
library=$(dirname "$(find "$PWD/root" -name liquid.rb)")

for value in '""' nil; do
    seen=$(ruby -I "$library" -rliquid \
        -e "puts Liquid::Template.parse('[{% if x != blank %}sent{% endif %}]').render('x' => $value)")
    echo "$value: $seen"
    [ "$seen" = "[sent]" ] || { echo "this has changed"; exit 1; }
done
