// Enqueues by orders that come as lines; see producer.py.
"use strict";

const readline = require("node:readline");
const { Queue } = require("bullmq");
const { NAME, connection, envelope, newId, now } = require("./work");

const BULK = 500;
const DAY_SECONDS = 24 * 3600;
const queue = new Queue(NAME, { connection });

const options = (delay) => ({
  jobId: newId(),
  attempts: 3,
  backoff: { type: "exponential", delay: 5000 },
  removeOnComplete: { age: DAY_SECONDS, count: 5000 },
  ...(delay ? { delay } : {}),
});

const described = (order, number) => ({
  name: order.job,
  data: envelope(order.job, number, order.size ?? 0),
  opts: options(order.delay_ms),
});

async function addOne(order, number, dues) {
  const job = described(order, number);
  if (order.due) {
    const at = now();
    const delay = Math.floor((order.due[number] - at) * 1000);
    if (delay <= 0) throw new Error("enqueueing took longer than the delay: the machine is too busy");
    job.opts.delay = delay;
    dues.push(at + delay / 1000);
  }
  await queue.add(job.name, job.data, job.opts);
}

async function carryOut(order) {
  const first = order.first ?? 0;
  const dues = [];
  const started = now();
  const numbers = Array.from({ length: order.count }, (_, place) => first + place);
  if (order.how === "bulk") {
    for (let start = 0; start < numbers.length; start += BULK) {
      await queue.addBulk(numbers.slice(start, start + BULK).map((number) => described(order, number)));
    }
  } else {
    for (const number of numbers) await addOne(order, number, dues);
  }
  return { seconds: now() - started, started, dues };
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await carryOut(JSON.parse(line))));
  }
  process.exit();
}

main();
