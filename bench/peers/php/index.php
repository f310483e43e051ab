<?php

declare(strict_types=1);

// POST /api/incidents.upsert in plain PHP and PDO: a peer to measure incidents.fcgi against.
// The database comes from PGHOST, PGDATABASE and PGUSER, which fpm.conf sets.

const OPTIONAL_TEXTS = ['name', 'priority', 'source_url'];
const TIMESTAMP = '/^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?$/iD';

final class Refusal extends Exception
{
    public function __construct(public readonly int $status, public readonly string $error, string $message)
    {
        parent::__construct($message);
    }
}

function connect(): PDO
{
    $dsn = "pgsql:host={$_SERVER['PGHOST']};dbname={$_SERVER['PGDATABASE']};user={$_SERVER['PGUSER']}";
    return new PDO($dsn, options: [
        PDO::ATTR_PERSISTENT => true,
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
        PDO::ATTR_TIMEOUT => 2,
        PDO::ATTR_EMULATE_PREPARES => false,
        // Parameters go with the statement, in one round trip. A prepared one would cost three: PHP prepares it, runs
        // it and deallocates it within the request.
        PDO::PGSQL_ATTR_DISABLE_PREPARES => true,
    ]);
}

function run(PDO $db, string $sql, array $parameters): array
{
    $statement = $db->prepare($sql);
    $statement->execute($parameters);
    return $statement->fetchAll();
}

function bearer_token(): string
{
    if (!preg_match('/^Bearer +(\S+)$/iD', $_SERVER['HTTP_AUTHORIZATION'] ?? '', $match)) {
        throw new Refusal(401, 'not_authed', 'a bearer token is needed');
    }
    return $match[1];
}

function authorize(PDO $db, string $bearer): void
{
    [$token] = run($db, <<<'SQL'
        SELECT token_id, ('upsert' = ANY (scopes))::int AS permitted,
               (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')::int AS stale
        FROM intake.api_token
        WHERE token_hash = decode(:hash, 'hex') AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
        SQL, ['hash' => hash('sha256', $bearer)]) + [null];
    if ($token === null) {
        throw new Refusal(401, 'not_authed', 'the token is not valid');
    }
    if (!$token['permitted']) {
        throw new Refusal(403, 'not_permitted', 'the token lacks the scope upsert');
    }
    if ($token['stale']) {
        run($db, <<<'SQL'
            UPDATE intake.api_token SET last_used_at = now()
            WHERE token_id = :id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
            SQL, ['id' => $token['token_id']]);
    }
}

function text(string $argument, mixed $value): ?string
{
    if ($value !== null && (!is_string($value) || str_contains($value, "\0"))) {
        throw new Refusal(422, 'invalid_arguments', "$argument must be a string");
    }
    return $value;
}

function identifier(string $argument, mixed $value): string
{
    $text = text($argument, $value) ?? '';
    if (trim($text) === '' || strlen($text) > 1024) {
        throw new Refusal(422, 'invalid_arguments', "$argument must be a non-empty string of at most 1024 bytes");
    }
    return $text;
}

function timestamp(string $argument, mixed $value): string
{
    if (is_string($value) && preg_match(TIMESTAMP, $value)) {
        $time = date_create_immutable($value, new DateTimeZone('UTC'));
        if ($time !== false && date_get_last_errors() === false) { // a warning: the 30th of February
            return $time->format('Y-m-d\TH:i:s.uP');
        }
    }
    throw new Refusal(422, 'invalid_timestamp', "$argument must be an ISO-8601 timestamp");
}

/** @return list<array{string, ?string}> without repeated identifiers; the later name wins */
function services(mixed $services): array
{
    $services ??= [];
    if (!is_array($services) || count($services) > 1000) {
        throw new Refusal(422, 'invalid_arguments', 'services must be an array of at most 1000 objects');
    }
    $links = [];
    foreach ($services as $n => $service) {
        $identifier = identifier("services[$n].identifier", $service->identifier ?? null);
        $links[$identifier] = [$identifier, text("services[$n].name", $service->name ?? null)];
    }
    return array_values($links);
}

function check_keys(mixed $value): void
{
    if (is_object($value)) {
        foreach ($value as $key => $_) {
            if (!preg_match('/^[A-Za-z0-9_-]+$/D', (string) $key)) {
                throw new Refusal(422, 'metadata_invalid', 'metadata holds a key other than [A-Za-z0-9_-]+');
            }
        }
    }
    if (is_object($value) || is_array($value)) {
        foreach ($value as $element) {
            check_keys($element);
        }
    }
}

function metadata(mixed $metadata): ?string
{
    if ($metadata === null || $metadata === []) {
        return null;
    }
    if (!is_object($metadata)) {
        throw new Refusal(422, 'metadata_invalid', 'metadata must be an object');
    }
    if ((array) $metadata === []) {
        return null;
    }
    check_keys($metadata);
    try {
        return json_encode($metadata, JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION | JSON_UNESCAPED_UNICODE);
    } catch (JsonException) { // a number beyond a double
        throw new Refusal(422, 'metadata_invalid', 'metadata holds a value that cannot be kept');
    }
}

/** @return array<string, ?string> the columns that the body holds */
function parse(string $body): array
{
    try {
        $sent = json_decode($body, flags: JSON_THROW_ON_ERROR, depth: 100);
    } catch (JsonException) {
        throw new Refusal(422, 'invalid_json', 'the body is not valid JSON');
    }
    if (!is_object($sent)) {
        throw new Refusal(422, 'invalid_arguments', 'the body must be an object');
    }
    $columns = ['reference_id' => identifier('reference_id', $sent->reference_id ?? null)];
    if (!isset($sent->started_at)) {
        throw new Refusal(422, 'invalid_arguments', 'started_at is required');
    }
    foreach (OPTIONAL_TEXTS as $argument) {
        if (property_exists($sent, $argument)) {
            $columns[$argument] = text($argument, $sent->$argument);
        }
    }
    if (property_exists($sent, 'services')) {
        $services = services($sent->services);
        $columns['services'] = $services ? json_encode($services) : null;
    }
    $columns['started_at'] = timestamp('started_at', $sent->started_at);
    if (property_exists($sent, 'resolved_at')) {
        $columns['resolved_at'] = $sent->resolved_at === null ? null : timestamp('resolved_at', $sent->resolved_at);
    }
    if (property_exists($sent, 'metadata')) {
        $columns['metadata'] = metadata($sent->metadata);
    }
    return $columns;
}

/** Columns that are not named are kept as stored. */
function upsert(PDO $db, array $columns): string
{
    $changing = array_diff(array_keys($columns), ['reference_id']);
    $list = fn (string $format) => implode(', ', array_map(fn ($column) => sprintf($format, $column), $changing));

    $db->beginTransaction();
    $rows = run($db, <<<SQL
        INSERT INTO intake.incident AS i (reference_id, {$list('%s')}, created_at, updated_at)
        VALUES (:reference_id, {$list(':%s')}, now(), now())
        ON CONFLICT (reference_id) DO UPDATE SET {$list('%1$s = excluded.%1$s')}, updated_at = now()
            WHERE ({$list('i.%s')}) IS DISTINCT FROM ({$list('excluded.%s')})
        RETURNING (i.xmax = 0)::int AS created
        SQL, $columns);
    $db->commit();

    if ($rows && $rows[0]['created']) {
        return 'created';
    }
    return $rows ? 'updated' : 'unchanged';
}

function answer(int $status, array $fields): void
{
    http_response_code($status);
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    echo json_encode($fields, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
}

function refusal_of(PDOException $e): Refusal
{
    $state = $e->errorInfo[0] ?? '08006';
    return match (true) {
        $state === '22P05' => new Refusal(422, 'metadata_invalid', 'metadata holds a value that cannot be kept'),
        str_starts_with($state, '22') => new Refusal(422, 'invalid_timestamp', 'a timestamp is out of range'),
        in_array(substr($state, 0, 2), ['08', '40', '53', '55', '57', 'HY'], true)
            => new Refusal(503, 'service_unavailable', 'the database cannot be reached'),
        default => new Refusal(500, 'internal_error', 'an internal error'),
    };
}

try {
    if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
        header('Allow: POST');
        throw new Refusal(405, 'method_not_allowed', 'use POST');
    }
    $bearer = bearer_token();
    $db = connect();
    authorize($db, $bearer);
    $columns = parse(file_get_contents('php://input'));
    $action = upsert($db, $columns);
    answer(200, ['ok' => true, 'action' => $action, 'reference_id' => $columns['reference_id']]);
} catch (Refusal | PDOException $e) { // a transaction that is open still is rolled back as the request ends
    $refusal = $e instanceof Refusal ? $e : refusal_of($e);
    if ($refusal->status >= 500) {
        error_log($e->getMessage());
    }
    match ($refusal->status) {
        401 => header('WWW-Authenticate: Bearer'),
        503 => header('Retry-After: 2'),
        default => null,
    };
    answer($refusal->status, ['ok' => false, 'error' => $refusal->error, 'message' => $refusal->getMessage()]);
}
