// Sends one archive to the server and says how far it is. `data` comes from drop_area.py.

const SETTLED = 2000; // milliseconds before the time left is told: the first bytes only fill buffers
const LOOKED_BACK = 10000; // milliseconds that the speed is measured over
const TOLD_EVERY = 25; // percent between two messages to a screen reader

// The page is drawn anew at every click, and an upload must survive that: one area for one place on the page.
const areas = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  let area = areas.get(parentElement);
  if (!area) {
    area = new Area(parentElement);
    areas.set(parentElement, area);
  }
  area.draw(data, (workspace) => setTriggerValue("uploaded", workspace));
  return () => area.stop();
}

class Area {
  constructor(root) {
    const find = (selector) => root.querySelector(selector);
    this.root = root;
    this.area = find(".area");
    this.label = find("#label");
    this.zone = find(".zone");
    this.chooseButton = find(".choose");
    this.input = find("input");
    this.sending = find(".sending");
    this.name = find("#name");
    this.bar = find(".bar");
    this.fill = find(".fill");
    this.numbers = find(".numbers");
    this.cancelButton = find(".cancel");
    this.error = find(".error");
    this.said = find(".said");
    this.stopped = new AbortController(); // of the upload at hand

    this.chooseButton.onclick = () => this.input.click();
    this.input.onchange = () => {
      const file = this.input.files[0];
      this.input.value = ""; // else the same file could not be chosen again after a failure
      if (file) this.send(file);
    };
    this.cancelButton.onclick = () => {
      this.stop();
      this.rest("", "Cancelled. Nothing was kept.");
    };
    // Also while something is sent: the browser would leave the page to show a file that is dropped.
    this.area.ondragover = (event) => {
      event.preventDefault();
      this.area.classList.toggle("over", !this.zone.hidden);
    };
    this.area.ondragleave = (event) => {
      if (!this.area.contains(event.relatedTarget)) this.area.classList.remove("over");
    };
    this.area.ondrop = (event) => {
      event.preventDefault();
      this.area.classList.remove("over");
      if (!this.zone.hidden) this.drop(event.dataTransfer);
    };
    this.warn = (event) => event.preventDefault();
  }

  draw(data, done) {
    this.data = data;
    this.done = done;
    this.label.textContent = data.label;
    this.input.accept = data.accept;
  }

  drop({ files, items }) {
    if (items[0]?.webkitGetAsEntry?.()?.isDirectory) {
      this.rest("That is a folder. Pack it into a .zip, or give its path under “A folder on this computer”.");
    } else if (files.length > 1) {
      this.rest(`These are ${files.length} files. Pack them into one .zip, with one folder a class.`);
    } else if (files.length === 1) {
      this.send(files[0]);
    }
  }

  async send(file) {
    const stopped = (this.stopped = new AbortController());
    const hadFocus = this.root.activeElement === this.chooseButton;
    this.zone.hidden = true;
    this.error.hidden = true;
    this.sending.hidden = false;
    this.cancelButton.hidden = false;
    this.name.textContent = file.name;
    this.show(0, file.size, null);
    this.say(`Uploading ${file.name}`);
    if (hadFocus) this.cancelButton.focus();
    window.addEventListener("beforeunload", this.warn);
    try {
      // Asked first: a browser that is still sending does not read why it should not.
      await this.ask({ name: file.name, size: file.size }, stopped.signal);
      const answer = await this.post(file, stopped.signal);
      this.cancelButton.hidden = true;
      this.numbers.textContent = "Uploaded. Opening the pictures.";
      this.say("Uploaded. Opening the pictures.");
      this.done(answer.workspace);
    } catch (failure) {
      if (!stopped.signal.aborted) this.rest(failure.message);
    } finally {
      window.removeEventListener("beforeunload", this.warn);
    }
  }

  url(query = {}) {
    // Relative to the page, which need not be at the root of its host.
    const url = new URL(this.data.path, location.origin + location.pathname.replace(/\/?$/, "/"));
    url.search = new URLSearchParams(query);
    return url;
  }

  async ask(query, signal) {
    let answer;
    try {
      answer = await fetch(this.url(query), { headers: { [this.data.header]: this.data.ticket }, signal });
    } catch {
      throw new Error("The server does not answer. Is tltool still running? Start it again, and reload this page.");
    }
    const { error } = await answer.json().catch(() => ({ error: `The server answers with status ${answer.status}.` }));
    if (error) throw new Error(error);
  }

  post(file, signal) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(); // fetch does not tell how much it has sent
      const samples = [];
      let sent = 0;
      request.responseType = "json";
      request.upload.onprogress = ({ loaded, total }) => {
        const now = performance.now();
        sent = loaded;
        samples.push([now, loaded]);
        while (now - samples[0][0] > LOOKED_BACK) samples.shift();
        this.show(loaded, total, secondsLeft(samples, total));
      };
      request.onload = () => {
        if (request.status === 201) resolve(request.response);
        else reject(new Error(request.response?.error ?? `The server answers with status ${request.status}.`));
      };
      request.onerror = () => {
        const broken = new Error(
          `The upload broke off after ${size(sent)} of ${size(file.size)}. ` +
            "Was the network lost, or the file changed meanwhile? Try again."
        );
        // The server may have had a reason to hang up, and remembers it.
        this.ask({}, signal).then(() => reject(broken), reject);
      };
      request.onabort = () => reject(new Error("Cancelled."));
      signal.addEventListener("abort", () => request.abort());
      request.open("POST", this.url({ name: file.name }));
      request.setRequestHeader(this.data.header, this.data.ticket);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.send(file);
    });
  }

  show(loaded, total, seconds) {
    const percent = total ? Math.floor((100 * loaded) / total) : 0;
    const parts = [`${percent}%`, `${size(loaded)} of ${size(total)}`];
    if (seconds !== null) parts.push(`about ${duration(seconds)} left`);
    this.fill.style.width = `${percent}%`;
    this.numbers.textContent = parts.join(" · ");
    const before = Number(this.bar.getAttribute("aria-valuenow") ?? 0);
    this.bar.setAttribute("aria-valuenow", percent);
    this.bar.setAttribute("aria-valuetext", parts.join(", "));
    if (Math.floor(percent / TOLD_EVERY) > Math.floor(before / TOLD_EVERY)) this.say(parts.join(", "));
  }

  // Shows the zone again, with what went wrong.
  rest(problem, message = "") {
    const hadFocus = this.root.activeElement === this.cancelButton;
    this.sending.hidden = true;
    this.zone.hidden = false;
    this.error.hidden = !problem;
    this.error.textContent = problem;
    this.say(message);
    if (hadFocus) this.chooseButton.focus();
  }

  say(text) {
    this.said.textContent = text;
  }

  stop() {
    this.stopped.abort();
  }
}

function secondsLeft(samples, total) {
  const [[before, had], [now, has]] = [samples[0], samples[samples.length - 1]];
  if (now - before < SETTLED || has <= had) return null;
  return ((now - before) / 1000 / (has - had)) * (total - has);
}

// As words.py writes them.
function size(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}

function duration(seconds) {
  if (seconds < 100) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
