#!/bin/sh
# Installs Chromium by the system's package manager, if there is none and that is possible.
# Without it the browser tests skip and say so; where CI is set they fail.
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core ||
        echo "Chromium could not be installed: no browser tests"
else
    echo "No Chromium, and no way to install it here (needs root and apt): no browser tests"
fi
