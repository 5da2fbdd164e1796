// Asks a gateway for recommendations: node recommend.mjs [ADDRESS] [USER]
//
//   npm install @grpc/grpc-js @grpc/proto-loader
//   PROTOS=../../../protos node recommend.mjs localhost:50050 user-7
//
// Several gateways behind a headless service: dns:///gateway.twostage:50050

import fs from 'node:fs';
import process from 'node:process';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const address = process.argv[2] ?? 'localhost:50050';
const userId = process.argv[3] ?? '';
const protos = process.env.PROTOS ?? 'protos';

const definition = protoLoader.loadSync('twostage/v1/gateway.proto', {
  includeDirs: [protos],
  longs: Number,
  enums: String,
  defaults: true,
  // A shortfall that is absent stays absent.
  oneofs: true,
});
const { twostage } = grpc.loadPackageDefinition(definition);

// A call that could not be made is made again, elsewhere where there is an elsewhere; what was refused for want of
// room is not: the answer says when to come back.
const serviceConfig = {
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{ service: 'twostage.v1.RecommendationService' }],
      retryPolicy: {
        maxAttempts: 3,
        initialBackoff: '0.02s',
        maxBackoff: '0.2s',
        backoffMultiplier: 2,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
};

const credentials = process.env.TLS_CA
  ? grpc.credentials.createSsl(fs.readFileSync(process.env.TLS_CA))
  : grpc.credentials.createInsecure();
const client = new twostage.v1.RecommendationService(address, credentials, {
  'grpc.service_config': JSON.stringify(serviceConfig),
});

const metadata = new grpc.Metadata();
if (process.env.API_KEY) metadata.set('x-api-key', process.env.API_KEY);

const call = (method, request) =>
  new Promise((resolve, reject) => {
    // Without a deadline the gateway's own default holds.
    const options = { deadline: Date.now() + 1000 };
    client[method](request, metadata, options, (error, response) => (error ? reject(error) : resolve(response)));
  });

try {
  const answer = await call('Recommend', { userId, count: 5 });
  console.log(`generation ${answer.generation}, ${answer.rung}, request ${answer.requestId}`);
  for (const item of answer.recommendations) {
    console.log(`${item.score.toFixed(4)}  ${item.itemId}  ${item.title}  [${item.sources.join(', ')}]`);
  }
  if (answer.shortfall) console.log(`${answer.shortfall.missingCount} missing: ${answer.shortfall.reason}`);

  if (userId && answer.recommendations.length) {
    const seen = answer.recommendations[0].itemId;
    const action = process.env.ACTION ?? 'rated';
    const told = await call('RecordEvents', {
      events: [{ eventId: `node-${Date.now()}`, userId, itemId: seen, action, value: 5, requestId: answer.requestId }],
    });
    for (const event of told.rejected) console.log(`rejected: ${event.reason}`);
    const next = await call('Recommend', { userId, count: 5 });
    const again = next.recommendations.some((item) => item.itemId === seen);
    console.log(`${told.acceptedCount} recorded; the item is ${again ? 'still' : 'no longer'} recommended`);
  }
} catch (error) {
  // error.details is one line that names the field, what was expected and what came.
  console.error(`${grpc.status[error.code] ?? error.code}: ${error.details ?? error.message}`);
  process.exitCode = 1;
} finally {
  client.close();
}
