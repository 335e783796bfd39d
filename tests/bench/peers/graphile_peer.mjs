// Graphile Worker: jobs in PostgreSQL. It has no workflows: each step is a job that adds the next one. A workflow has ended
// when the completion of its last job is in the database.
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import { serve } from './peer.mjs';

const connectionString = process.env.PEER_DATABASE_URL;
const waiting = new Map();
let nextRun = 0;

const utils = await makeWorkerUtils({ connectionString });
await utils.migrate();
const runner = await run({
  connectionString,
  concurrency: 20,
  maxPoolSize: 22,
  noHandleSignals: true,
  pollInterval: 100,
  logger: new Logger(() => () => {}),
  taskList: {
    step: async ({ run: id, left }, helpers) => {
      if (left > 1) await helpers.addJob('step', { run: id, left: left - 1 });
    },
  },
});
runner.events.on('job:complete', ({ job, error }) => {
  if (error) throw error;
  if (job.payload.left === 1) waiting.get(job.payload.run)();
});

await serve((workflows, steps) =>
  Promise.all(Array.from({ length: workflows }, () => new Promise((done) => {
    const id = nextRun++;
    waiting.set(id, done);
    utils.addJob('step', { run: id, left: steps });
  }))));
