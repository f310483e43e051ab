'use strict'

// POST /api/incidents.upsert in Fastify and node-postgres: a peer to measure incidents.fcgi against.
// Listens on 127.0.0.1:$PORT; the database comes from the PG* variables.

const cluster = require('node:cluster')
const { createHash } = require('node:crypto')
const { availableParallelism } = require('node:os')
const fastify = require('fastify')
const { DatabaseError, Pool } = require('pg')

const CONNECTIONS = 16 // of all processes together
const OPTIONAL_COLUMNS = ['name', 'priority', 'source_url', 'resolved_at', 'services', 'metadata']

const optionalText = { type: 'string', nullable: true }
const identifier = { type: 'string', maxLength: 1024, pattern: '\\S' }
const timestamp = { type: 'string', anyOf: [{ format: 'date-time' }, { format: 'date' }] }

// Any JSON value whose objects have only keys that cannot make a dotted path ambiguous.
const metadataValue = {
  $id: 'metadataValue',
  type: ['object', 'array', 'string', 'number', 'boolean', 'null'],
  propertyNames: { pattern: '^[A-Za-z0-9_-]+$' },
  additionalProperties: { $ref: 'metadataValue#' },
  items: { $ref: 'metadataValue#' }
}

const incident = {
  type: 'object',
  required: ['reference_id', 'started_at'],
  properties: {
    reference_id: identifier,
    started_at: timestamp,
    name: optionalText,
    priority: optionalText,
    source_url: optionalText,
    resolved_at: { ...timestamp, nullable: true },
    services: {
      type: 'array',
      nullable: true,
      maxItems: 1000,
      items: { type: 'object', required: ['identifier'], properties: { identifier, name: optionalText } }
    },
    metadata: {
      anyOf: [{ type: 'null' }, { type: 'array', maxItems: 0 }, { type: 'object', $ref: 'metadataValue#' }]
    }
  }
}

const done = {
  type: 'object',
  properties: { ok: { type: 'boolean' }, action: { type: 'string' }, reference_id: { type: 'string' } }
}
const failed = {
  type: 'object',
  properties: { ok: { type: 'boolean' }, error: { type: 'string' }, message: { type: 'string' } }
}

const findToken = {
  name: 'find_token',
  text: `SELECT token_id, 'upsert' = ANY (scopes) AS permitted,
                last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS stale
         FROM intake.api_token
         WHERE token_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`
}
const touchToken = {
  name: 'touch_token',
  text: `UPDATE intake.api_token SET last_used_at = now()
         WHERE token_id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`
}
// One prepared statement for each set of optional columns that a request holds: the others are kept as stored.
const upserts = new Map()
function upsertOf (optional) {
  const name = `upsert:${optional}`
  if (!upserts.has(name)) {
    const columns = ['started_at', ...optional]
    upserts.set(name, {
      name,
      text: `INSERT INTO intake.incident AS i (reference_id, ${columns}, created_at, updated_at)
             VALUES ($1, ${columns.map((_, n) => `$${n + 2}`)}, now(), now())
             ON CONFLICT (reference_id) DO UPDATE
                 SET ${columns.map(column => `${column} = excluded.${column}`)}, updated_at = now()
                 WHERE (${columns.map(column => `i.${column}`)})
                     IS DISTINCT FROM (${columns.map(column => `excluded.${column}`)})
             RETURNING i.xmax = 0 AS created`
    })
  }
  return upserts.get(name)
}

function isEmpty (metadata) {
  return metadata === null || Object.keys(metadata).length === 0
}

// As the column has it: null for what is empty, services as pairs of identifier and name.
function valueOf (column, value) {
  if (column === 'metadata') return isEmpty(value) ? null : value
  if (column !== 'services') return value
  const services = new Map((value ?? []).map(({ identifier, name }) => [identifier, name ?? null]))
  return services.size === 0 ? null : JSON.stringify([...services])
}

async function upsert (pool, body) {
  const optional = OPTIONAL_COLUMNS.filter(column => body[column] !== undefined)
  const values = optional.map(column => valueOf(column, body[column]))
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    const incident = await client.query(
      { ...upsertOf(optional), values: [body.reference_id, body.started_at, ...values] })
    await client.query('COMMIT')
    if (incident.rows[0]?.created) return 'created'
    return incident.rowCount > 0 ? 'updated' : 'unchanged'
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  } finally {
    client.release()
  }
}

// The HTTP status and the code for whatever a hook or handler has thrown.
function classify (error) {
  if (error.validation) {
    const argument = error.validation[0].instancePath.split('/')[1]
    if (argument === 'metadata') return [422, 'metadata_invalid']
    return [422, ['started_at', 'resolved_at'].includes(argument) ? 'invalid_timestamp' : 'invalid_arguments']
  }
  if (error.statusCode) {
    return { 401: [401, 'not_authed'], 403: [403, 'not_permitted'], 413: [413, 'request_too_large'] }[error.statusCode] ??
      [422, 'invalid_json']
  }
  if (error instanceof DatabaseError) {
    if (error.code === '22P05') return [422, 'metadata_invalid'] // \u0000 in jsonb
    if (error.code === '22021' || error.code === '23514') return [422, 'invalid_arguments'] // NUL; too long
    if (error.code.startsWith('2200')) return [422, 'invalid_timestamp']
    return /^(08|40|53|55|57)/.test(error.code) ? [503, 'service_unavailable'] : [500, 'internal_error']
  }
  return error.syscall || /connect/i.test(error.message) ? [503, 'service_unavailable'] : [500, 'internal_error']
}

function refuse (statusCode, message) {
  throw Object.assign(new Error(message), { statusCode })
}

function build (pool) {
  const app = fastify({
    logger: true, // lines for each request on standard output, as all that it is measured against writes them
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allowUnionTypes: true } }
  })

  // The body is JSON whatever its Content-Type says.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, app.getDefaultJsonParser('ignore', 'ignore'))
  app.addSchema(metadataValue)

  app.setErrorHandler((error, request, reply) => {
    const [status, code] = classify(error)
    if (status === 500) request.log.error(error)
    if (status === 401) reply.header('WWW-Authenticate', 'Bearer')
    if (status === 503) reply.header('Retry-After', '2')
    reply.code(status).send({
      ok: false,
      error: code,
      message: status < 500 && !(error instanceof DatabaseError) ? error.message : code
    })
  })
  app.setNotFoundHandler((request, reply) => {
    reply.code(404).send({ ok: false, error: 'unknown_method', message: 'there is no such method' })
  })

  async function authorize (request, reply) {
    reply.header('Cache-Control', 'no-store')
    const [, token] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? refuse(401, 'a bearer token is needed')
    const hash = createHash('sha256').update(token).digest()
    const { rows: [found] } = await pool.query({ ...findToken, values: [hash] })
    if (!found) refuse(401, 'the token is not valid')
    if (!found.permitted) refuse(403, 'the token lacks the scope upsert')
    if (found.stale) await pool.query({ ...touchToken, values: [found.token_id] })
  }

  app.post('/api/incidents.upsert', {
    onRequest: authorize,
    schema: { body: incident, response: { 200: done, '4xx': failed, '5xx': failed } }
  }, async ({ body }) => ({ ok: true, action: await upsert(pool, body), reference_id: body.reference_id }))
  return app
}

if (cluster.isPrimary) {
  for (let n = 0; n < availableParallelism(); n++) cluster.fork()
  cluster.on('exit', worker => {
    console.error(`process ${worker.process.pid} has ended`)
    if (!worker.exitedAfterDisconnect) setTimeout(() => cluster.fork(), 1000)
  })
} else {
  const pool = new Pool({
    max: Math.ceil(CONNECTIONS / availableParallelism()),
    idleTimeoutMillis: 0,
    connectionTimeoutMillis: 2000,
    options: '-c TimeZone=UTC'
  })
  pool.on('error', error => console.error(`a connection was lost: ${error.message}`))
  build(pool).listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
}
