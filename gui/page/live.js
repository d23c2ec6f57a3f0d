// The stream of what there is. The control plane sends all of it at first, and then what has changed.

// A page that has heard nothing for so long, in milliseconds, is stale: something comes every 8 s at the latest.
const silence = 15_000;
const retry = 1_000;

// follow has heard(message) called for each message of a mesh, and status(live, since) when that begins or ceases to come. A
// page that nobody sees follows nothing.
export function follow(mesh, heard, status) {
  let source = null, timer = 0, last = 0;

  function open() {
    close();
    if (document.hidden) return;
    source = new EventSource("/gui/events" + (mesh ? `?mesh=${encodeURIComponent(mesh)}` : ""));
    source.onmessage = (event) => {
      last = Date.now();
      status(true, last);
      heard(JSON.parse(event.data));
      watch();
    };
    source.onerror = () => { // the browser would try again after some errors, and not after others
      stale();
      again();
    };
    watch();
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  function again() {
    close();
    timer = setTimeout(open, retry);
  }

  function watch() {
    clearTimeout(timer);
    timer = setTimeout(() => { stale(); again(); }, silence);
  }

  const stale = () => status(false, last);

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); stale(); } else open();
  });
  addEventListener("pagehide", close);
  open();
}
