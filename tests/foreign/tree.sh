#!/usr/bin/env bash
# Lays a Python, with the packages of a virtual environment, out as the tree of an image: tree.sh VENV SERVER TREE
# The image needs nothing else: what Python is linked with goes along. It is started as /app/python /app/server.py.
set -euo pipefail
venv=$1 server=$2 tree=$3
python=$(readlink -f "$venv/bin/python3")
library=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
packages=$("$venv/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
mkdir -p "$tree/app/site"
# It is asked for by its own path, so that it finds its library.
cp --parents "$python" "$tree"
ln -s "$python" "$tree/app/python"
tar --create --directory / --exclude=test --exclude=__pycache__ --exclude=idlelib --exclude=ensurepip \
    --exclude='config-*' --exclude='*-packages' "${library#/}" | tar --extract --directory "$tree"
tar --create --directory "$packages" --exclude=__pycache__ --exclude='pip*' --exclude='setuptools*' . |
    tar --extract --directory "$tree/app/site"
linked() {
    find "$library/lib-dynload" "$packages" -name '*.so*' -print0 | xargs -0 ldd "$python" 2>/dev/null |
        grep --only-matching '/[^ ]*' | grep -v ':$' | sort -u
}
while read -r file; do
    [ ! -f "$file" ] || cp --dereference --parents "$file" "$tree"
done < <(linked)
cp "$server" "$tree/app/server.py"
