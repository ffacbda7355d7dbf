// What all peers carry; see work.py.
"use strict";

const fs = require("node:fs");

const ROUTE = JSON.parse(process.env.XPERT_BENCH_ROUTE);
const JOBS = JSON.parse(process.env.XPERT_BENCH_JOBS);
const url = new URL(process.env.XPERT_BENCH_PEER_URL);
const run = Date.now().toString(16);
let serial = 0;
let stamps;

exports.JOBS = JOBS;
exports.NAME = "bench";
exports.connection = { host: url.hostname, port: Number(url.port), db: Number(url.pathname.slice(1)) };

// Seconds, with the fraction that Date.now() lacks.
exports.now = () => (performance.timeOrigin + performance.now()) / 1000;

exports.envelope = (job, number, size) => ({
  ...ROUTE,
  job_name: job,
  payload: {
    outboundLogId: `9b2d3c4e-5f6a-4b7c-8d9e-${String(number).padStart(12, "0")}`,
    number,
    ...(size ? { text: "x".repeat(size) } : {}),
  },
});

exports.newId = () => `outbound-${run}-${String(serial++).padStart(8, "0")}`;

exports.stamp = (number) => {
  stamps ??= fs.openSync(process.env.XPERT_BENCH_STAMPS, "a");
  const [start, pid] = [exports.now().toFixed(6), String(process.pid)];
  fs.writeSync(stamps, `${String(number).padStart(8, "0")} ${start.padStart(17, "0")} ${pid.padStart(8, "0")}\n`);
};
