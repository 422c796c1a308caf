#!/bin/sh
# The kiosk's screen: waits for the service, shows its page in Chromium, starts it again for ever.
# Runs in a session of X11 or Wayland (cage, labwc); docs/kiosk.md says how to get there.
#
#   VIVANT_URL      the page [default: http://127.0.0.1:8080/]; with a token: .../#token=...
#   VIVANT_BROWSER  [default: the first of chromium, chromium-browser, google-chrome]
#   VIVANT_SCREEN   a command run first, to turn a portrait screen:
#                     Wayland: wlr-randr --output HDMI-A-1 --transform 90
#                     X11:     xrandr --output HDMI-1 --rotate left
#
# Nothing is kept: the profile lies in memory and is new at every start. Which page may use the
# camera is said by chromium-policy.json, not here.
set -u

url=${VIVANT_URL:-http://127.0.0.1:8080/}
origin=$(printf '%s' "$url" | sed -E 's#^(https?://[^/]+).*#\1#')
token=$(printf '%s' "$url" | sed -n 's/.*#token=//p')
profile=${XDG_RUNTIME_DIR:?is not set; start this from a session, not from cron}/vivant-screen
shown=

say() { printf 'vivant-screen: %s\n' "$*" >&2; }

find_browser() {
    for name in ${VIVANT_BROWSER:-chromium chromium-browser google-chrome}; do
        command -v "$name" && return
    done
    say 'no Chromium; install it, or name it in VIVANT_BROWSER'
    exit 1
}

# Succeeds as soon as the service lives; whether it is ready, the page tells its visitors.
await_service() {
    until curl --silent --fail --max-time 2 --output /dev/null "$origin/healthz"; do
        pause 1
    done
}

show_page() {
    if [ -n "${WAYLAND_DISPLAY:-}" ]; then platform=wayland; else platform=x11; fi
    "$browser" \
        --kiosk --app="$url" --ozone-platform="$platform" \
        --user-data-dir="$profile" --disk-cache-dir="$profile/cache" \
        --disk-cache-size=1 --media-cache-size=1 \
        --no-first-run --no-default-browser-check --noerrdialogs \
        --disable-session-crashed-bubble --hide-crash-restore-bubble \
        --kiosk-printing --disable-pinch --overscroll-history-navigation=0 \
        --disable-breakpad --disable-crash-reporter \
        --disable-background-networking --disable-component-update --disable-sync \
        --disable-domain-reliability --password-store=basic \
        --disable-features=Translate,MediaRouter,SpareRendererForSitePerProcess &
    shown=$!
    # A browser shows a page that crashed or hangs until somebody comes: it is given a minute, which
    # also is what it has to bring up a page on a slow disk.
    missed=0
    while [ "$missed" -lt 12 ] && pause 5 && kill -0 "$shown" 2>/dev/null; do
        if page_lives; then missed=0; else missed=$((missed + 1)); fi
    done
    stop_browser
}

# A page has a renderer (spare ones are switched off), and asks the service twice a minute. Where
# the service does not answer, it cannot tell.
page_lives() {
    pgrep -f -- "--type=renderer .*--user-data-dir=$profile" >/dev/null || return
    silent_s=$(curl --silent --fail --max-time 2 --header "Authorization: Bearer $token" \
        "$origin/metrics" | sed -n 's/^vivant_page_silent_seconds \([0-9]*\).*/\1/p')
    [ "${silent_s:-0}" -lt 180 ]
}

# What hangs may not heed the first signal, and would stay when the browser is gone.
stop_browser() {
    kill "$shown" 2>/dev/null
    for _ in 1 2 3 4 5; do
        kill -0 "$shown" 2>/dev/null || break
        pause 1
    done
    pkill -KILL -f -- "--user-data-dir=$profile"
    wait "$shown"
}

# Sleeps so that a signal is heeded at once.
pause() { sleep "$1" & wait $!; }

end() {
    trap - EXIT
    [ -z "$shown" ] || stop_browser
    rm -rf "$profile"
    exit 0
}

ulimit -c 0
umask 077
browser=$(find_browser) || exit
trap end EXIT HUP INT TERM
[ -z "${VIVANT_SCREEN:-}" ] || sh -c "$VIVANT_SCREEN" || say "failed: $VIVANT_SCREEN"

while :; do
    await_service
    rm -rf "$profile"
    show_page
    say "the browser ended, or its page crashed or hung ($?); starting it again"
    pause 2
done
