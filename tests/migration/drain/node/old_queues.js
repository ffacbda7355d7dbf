// Producers and workers of BullMQ 5, BullMQ 6 and Bull 4. Reads one JSON command a line, and answers each with one line.

const readline = require('readline')
const IORedis = require('ioredis')

const [host, port] = process.argv.slice(2)
const connection = { host, port: Number(port), maxRetriesPerRequest: null }
const redis = new IORedis(connection)
const open = new Map()

function queueOf({ lib, queue, prefix }) {
  const name = [lib, prefix, queue].join()
  if (!open.has(name)) {
    const made =
      lib === 'bull4'
        ? new (require('bull4'))(queue, { redis: connection, prefix })
        : new (require(lib).Queue)(queue, { connection, prefix })
    made.on('error', () => {})
    open.set(name, made)
  }
  return open.get(name)
}

// What a job does is in its data: it says that it ran, then takes its time, then fails or not.
const processor = (ran) => async (job) => {
  await redis.rpush(ran, String(job.id))
  const pause = (ms) => new Promise((done) => setTimeout(done, ms))
  if (job.data.takes) await pause(job.data.takes)
  if (job.data.until) while (!(await redis.exists(job.data.until))) await pause(10)
  if (job.data.fails) throw new Error('as it was told')
}

const commands = {
  async add(given) {
    const queue = queueOf(given)
    const jobs = given.jobs.map(({ name, data, opts }) => ({ name, data, opts }))
    const added = given.bulk ? await queue.addBulk(jobs) : []
    if (!given.bulk) for (const job of jobs) added.push(await queue.add(job.name, job.data, job.opts))
    return added.map((job) => String(job.id))
  },
  async work(given) {
    const run = processor(given.ran)
    if (given.lib === 'bull4') {
      queueOf(given).process('*', given.concurrency, run)
      return queueOf(given).isReady().then(() => true)
    }
    const { lib, queue, prefix, concurrency } = given
    const worker = new (require(lib).Worker)(queue, run, { connection, prefix, concurrency })
    worker.on('error', () => {})
    open.set('worker ' + [lib, prefix, queue].join(), worker)
    await worker.waitUntilReady()
    return true
  },
  async rest(given) {
    const { lib, queue, prefix } = given
    const name = lib === 'bull4' ? [lib, prefix, queue].join() : 'worker ' + [lib, prefix, queue].join()
    await open.get(name).close()
    open.delete(name)
    return true
  },
  pause: async (given) => Boolean((await queueOf(given).pause()) || true),
  resume: async (given) => Boolean((await queueOf(given).resume()) || true),
  async schedule(given) {
    const queue = queueOf(given)
    if (given.lib === 'bull4') await queue.add(given.name, {}, { repeat: { every: 3600000 } })
    else await queue.upsertJobScheduler(given.name, { every: 3600000, startDate: Date.now() + 3600000 }, { name: given.name })
    return true
  },
  async flow(given) {
    const { FlowProducer } = require(given.lib)
    const flows = new FlowProducer({ connection, prefix: given.prefix })
    const child = { name: 'child', queueName: given.queue, data: {} }
    const flow = await flows.add({ name: 'parent', queueName: given.queue, data: {}, children: [child] })
    await flows.close()
    return [flow.job.id, flow.children[0].job.id]
  },
  async counts(given) {
    return queueOf(given).getJobCounts()
  },
  async workers(given) {
    return (await queueOf(given).getWorkers()).length
  },
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const given = JSON.parse(line)
  let answer
  try {
    answer = { result: await commands[given.do](given) }
  } catch (error) {
    answer = { error: String(error.stack) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}).on('close', () => process.exit(0))
