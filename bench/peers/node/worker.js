// Runs the jobs until it is ended.
"use strict";

const { setTimeout: sleep } = require("node:timers/promises");
const { Worker } = require("bullmq");
const { JOBS, NAME, connection, stamp } = require("./work");

const handle = async (job) => {
  if (job.name === JOBS.wait) await sleep(JOBS.wait_ms);
  if (job.name !== JOBS.noop) stamp(job.data.payload.number);
};

new Worker(NAME, handle, { connection, concurrency: Number(process.env.XPERT_BENCH_CONCURRENCY) });
