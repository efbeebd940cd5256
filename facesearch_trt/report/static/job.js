// Follows a job until it is over.
const job = document.querySelector("#job");
const log = document.querySelector("#log");

async function look() {
  const answer = await fetch(`/api/jobs/${job.dataset.job}`);
  if (!answer.ok) return;
  const now = await answer.json();
  document.querySelector("#progress").value = now.progress;
  document.querySelector("#state").textContent = now.state + (now.status ? ` (exit status ${now.status})` : "");
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 20;
  log.textContent = (now.dropped ? `… ${now.dropped} lines before these\n` : "") + now.log.join("\n");
  if (atEnd) log.scrollTop = log.scrollHeight;
  if (["done", "failed", "cancelled"].includes(now.state)) {
    document.querySelector("form[action$='/cancel']")?.remove();
  } else {
    setTimeout(look, 1000);
  }
}

if (!("over" in job.dataset)) setTimeout(look, 500);
