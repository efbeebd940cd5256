// Draws the faces over the video at its own time, and moves with the timeline.
const player = document.querySelector("#player");
const video = document.querySelector("#video");
let still = document.querySelector("#still");
const canvas = document.querySelector("#boxes");
const show = document.querySelector("#show");
const lanes = document.querySelector("#lanes");
const playhead = document.querySelector("#playhead");
const start = Number(player.dataset.start);
const end = Number(player.dataset.end);
const clip = player.dataset.clip;
const colours = ["#4cc9f0", "#f72585", "#ffd166", "#06d6a0", "#f78c6b", "#b388ff", "#8ecae6", "#ff70a6"];
const WINDOW_S = 20;
// Browsers let a stream that begins late begin at 0.
const offset = start > 1 ? start : 0;

const screen = () => (video?.isConnected ? video : still);
let time = "t" in player.dataset ? Number(player.dataset.t) : start;
const windows = new Map();
let size = null;

async function load(index) {
  if (windows.has(index)) return windows.get(index);
  windows.set(index, null);
  const from = start + index * WINDOW_S;
  const answer = await fetch(`/api/clips/${clip}/boxes?from_s=${from}&to_s=${from + WINDOW_S}`);
  if (!answer.ok) return null;
  const found = await answer.json();
  size = { width: found.width, height: found.height };
  windows.set(index, found);
  // A long clip would fill the memory otherwise.
  if (windows.size > 12) windows.delete(windows.keys().next().value);
  draw();
  return found;
}

// The frame on screen is the last one that began.
function facesAt(found, at) {
  let low = 0;
  let high = found.pts_s.length - 1;
  if (high < 0 || at < found.pts_s[0] - 0.05) return [];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (found.pts_s[middle] <= at + 0.001) low = middle;
    else high = middle - 1;
  }
  return found.faces[low];
}

function draw() {
  const context = canvas.getContext("2d");
  const ratio = devicePixelRatio || 1;
  const area = player.getBoundingClientRect();
  if (canvas.width !== Math.round(area.width * ratio) || canvas.height !== Math.round(area.height * ratio)) {
    canvas.width = Math.round(area.width * ratio);
    canvas.height = Math.round(area.height * ratio);
  }
  context.clearRect(0, 0, canvas.width, canvas.height);
  const index = Math.max(0, Math.floor((time - start) / WINDOW_S));
  load(index);
  const found = windows.get(index);
  const here = found ? facesAt(found, time) : [];
  const present = new Set(here.map((face) => String(face[0])));
  for (const row of document.querySelectorAll(".row[data-face]")) row.classList.toggle("now", present.has(row.dataset.face));
  document.querySelector("#clock").textContent = `${Math.max(0, time).toFixed(2)} s`;
  if (playhead && lanes) {
    const track = lanes.querySelector(".track");
    if (track) {
      const left = track.getBoundingClientRect().left - lanes.getBoundingClientRect().left;
      const share = Math.min(1, Math.max(0, (time - start) / Math.max(end - start, 1e-6)));
      playhead.style.display = "block";
      playhead.style.left = `${left + share * track.getBoundingClientRect().width - 1}px`;
    }
  }
  player.dataset.faces = here.length;
  if (!show.checked || !size || !here.length) return;
  const shown = screen().getBoundingClientRect();
  const scale = Math.min(shown.width / size.width, shown.height / size.height) * ratio;
  const left = (shown.left - area.left) * ratio + (shown.width * ratio - size.width * scale) / 2;
  const top = (shown.top - area.top) * ratio + (shown.height * ratio - size.height * scale) / 2;
  context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  for (const [face, x1, y1, x2, y2] of here) {
    const colour = colours[face % colours.length];
    const [x, y, width, height] = [left + x1 * scale, top + y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale];
    context.lineWidth = 2.5 * ratio;
    context.strokeStyle = colour;
    context.beginPath();
    context.roundRect(x, y, width, height, 5 * ratio);
    context.stroke();
    const label = found.people[face] ?? `face ${face}`;
    const wide = context.measureText(label).width + 10 * ratio;
    const high = 19 * ratio;
    const above = y - high - 3 * ratio > 0 ? y - high - 3 * ratio : y + height + 3 * ratio;
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(x, above, wide, high, 4 * ratio);
    context.fill();
    context.fillStyle = "#000";
    context.fillText(label, x + 5 * ratio, above + high - 2 * ratio);
  }
}

function seek(to) {
  time = Math.min(end, Math.max(start, to));
  if (video?.isConnected) video.currentTime = Math.max(0, time - offset);
  else if (still) still.src = `/media/${clip}/still?t=${time}`;
  draw();
}

function follow() {
  if (video.requestVideoFrameCallback) {
    const next = (_, facts) => {
      time = facts.mediaTime + offset;
      draw();
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }
  video.addEventListener("timeupdate", () => {
    if (!video.requestVideoFrameCallback) time = video.currentTime + offset;
    draw();
  });
}

if (video) {
  follow();
  video.addEventListener("loadedmetadata", () => {
    if ("t" in player.dataset) seek(Number(player.dataset.t));
    draw();
  });
  video.addEventListener("error", () => {
    document.querySelector("#unplayable")?.removeAttribute("hidden");
    still = document.createElement("img");
    still.alt = "Picture at the chosen time";
    still.addEventListener("load", draw);
    still.src = `/media/${clip}/still?t=${time}`;
    video.replaceWith(still);
    stills();
  });
}

// Without a video to play, pictures are stepped through.
function stills() {
  still.addEventListener("load", draw);
  draw();
}

if (!video && still) stills();

if (show) {
  document.addEventListener("click", (event) => {
    const track = event.target.closest(".track");
    if (!track || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const link = event.target.closest("a[data-seek]");
    const area = track.getBoundingClientRect();
    // A click with the pointer goes to its very place; one with the keyboard to the beginning of the bar.
    let to = event.detail ? start + ((event.clientX - area.left) / area.width) * (end - start) : start;
    if (link) to = Math.max(to, Number(link.dataset.seek));
    seek(to);
    history.replaceState(null, "", `?t=${to.toFixed(3)}`);
    player.scrollIntoView({ block: "nearest" });
  });
  show.addEventListener("change", draw);
  addEventListener("resize", draw);
  addEventListener("keydown", (event) => {
    if (event.target.closest?.("input, select, textarea, a, button, video") || event.ctrlKey || event.metaKey) return;
    const isPlaying = video && video.isConnected;
    const step = { ArrowLeft: -5, ArrowRight: 5, ",": -0.04, ".": 0.04 }[event.key];
    if (step) seek(time + step);
    else if (event.key === " " && isPlaying) video.paused ? video.play() : video.pause();
    else if (event.key === "b" || event.key === "B") show.click();
    else return;
    event.preventDefault();
  });
}
