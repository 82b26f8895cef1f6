// Package dynamo keeps Postern's state in DynamoDB: the contract of package
// store, shared by any number of tasks.
//
// # Tables
//
// All are PAY_PER_REQUEST, and their names stand behind a prefix. Tables
// defines them. Times are RFC 3339 text in EmailContacts and EmailCampaigns,
// which people and older programs read, and Unix milliseconds elsewhere.
//
// EmailContacts, key email (the address in lower case): email_as_given,
// status, tags, created_at, updated_at, email_count, last_email_sent,
// last_campaign, and each field of the caller's under its own name. Items that
// another program wrote are read as they are; ones whose key has an upper-case
// letter move to the lower-cased key when the first task opens the table.
//
// EmailCampaigns, key campaign_id: campaign_name, status, reason, notice,
// from_email, from_name, letter_sealed (ciphertext of the subject, Reply-To and
// the files' names), body and attachments (references to content), smtp_server, smtp_port, smtp_use_tls,
// smtp_username, smtp_default, smtp_password_sealed (ciphertext, until the
// campaign ends), audience (the packed selection, or text where it is kept as
// content), promise, send_at, source_vpce, created_at, updated_at, started_at,
// running_since, finished_at, log_links and log_head (the end of its
// chain of the audit trail), create_digest and restart_digest (what the call
// that made it and the last one that restarted it were).
//
// EmailDeliveries, key chunk (as the pk of its lease) and i (index in the
// chunk): a address, s state, t attempts, r reply, m message id, h digest of
// the message, u updated at, n next attempt at.
//
// EmailWork, key pk and sk:
//
//	pk                        sk           what
//	c#<campaign>#<number>     lease        a lease; number 0 is the control lease
//	c#<campaign>#<number>     audience     a: the packed audience of a chunk
//	c#<campaign>#<number>     link#<link>  h hash, p payload: a link of the audit
//	                                       trail; number 0 is the campaign's own chain
//	t#<campaign>              00 to 31     a shard of the totals
//	b#<campaign>#<digest>#<n> content      b: a piece of content, n: how many there are
//	k#<hash of the key>       reservation  an Idempotency-Key
//	a#<campaign>              reservation  the same for a call without one
//	campaigns                 <campaign>   a place in the listing of campaigns
//	signal                    stops        n: the signal
//	cell#<key>                cell         v version, b value
//	adopted                   EmailContacts  mixed-case keys have been dealt with
//
// A lease has o owner, f fence, v version, w the stamp of its holder's last
// write and wv the version which that made, x closed, n size, s settled, si
// intents and sc counted (bitmaps), d deferred (deflated JSON), al and ah the
// links and the head of its chain of the audit trail, e counted as
// done in the totals, fc fk ff the freeze's cursor, chunks and final, rn rs rf
// the reopening's next chunk, states and first chunk for them, and due_shard
// and due_at. Those two are the key of the index "due" (keys only): 8 shards of
// free leases, and one partition of those that are held, all with due_at 0;
// closed leases do not have the key and are not in it. Totals have total,
// chunks, done, final, one counter for each terminal state, u changed at. A
// reservation has c campaign, d digest of the request, s state, m pieces, and
// expires_at, by which DynamoDB deletes it (TTL).
//
// # How it keeps the contract
//
// A holder's write to a lease has the condition that fence and version are as
// he has seen them, and leaves a stamp: a hash of the call's name and
// arguments, with the version that it makes. When the condition does not hold,
// the item that DynamoDB returns with the refusal tells whether the write that
// moved the version on was this very call, whose answer was lost, or another.
// Absorb leaves the stamp alone, so a holder's repeated call is recognised
// behind it too; Restart and ReopenChunk, which take a lease from its holder,
// erase it. What belongs to the write (rows, totals, a chunk, the signal) is
// in one transaction with it, so nothing is counted twice however often a call
// is made. What depends on a lease that the caller does not hold (Absorb,
// Restart, ReopenChunk) reads it first, writes under the condition that it has
// not changed, and begins anew when it has. Statistics are counted contact
// by contact, under the condition that the contact's last campaign is another.
//
// # Permissions
//
// On the tables GetItem, BatchGetItem, PutItem, UpdateItem, DeleteItem,
// ConditionCheckItem (EmailCampaigns and EmailWork), Query and Scan, and Query
// on the index. Making tables needs DescribeTable, CreateTable,
// DescribeTimeToLive and UpdateTimeToLive besides.
//
// # Cost
//
// A checkpoint of 97 rows takes about 216 write units: 2 a row, 2 for the
// lease, 2 for the totals, and 2 a kilobyte of the audit trail's link, which has
// about 90 octets a row (a transaction doubles each); one of fewer rows has the
// same 4 for lease and totals, and one without rows, as an intent may be, takes 1.
// Freezing takes 2 a kilobyte of packed audience, about 0.17 a recipient.
// Taking a lease or letting it go takes 3, two of them for the due index; a
// renewal 1; finishing a chunk 5. So a recipient takes about 2.46 write units
// from freezing to finish. Behind that, CountSent takes 1 for each contact of up
// to a kilobyte, and as much for one that it finds counted already, and
// MarkCounted 1 a chunk: 3.46 with statistics; TestCapacity measures it.
//
// Shelving a chunk takes 3 and 2 a kilobyte of its campaign's item; reopening
// it 5, or 9 with recipients to be mailed again, whose rows are read. A
// message that is absorbed takes what a row of a checkpoint does, and a read of
// the chunk's rows. An event of the audit trail takes 2 a kilobyte, and so much
// for the campaign's item. DueLeases reads with 9 queries, up to 18 while more is
// due than an answer has room for, of about 80 octets a lease, eventually
// consistent; Signal and GetCell take one strongly consistent read.
//
// A partition takes 1,000 write units a second: leases and rows are spread by
// chunk, content by piece. The totals of a campaign share one partition, whose
// 2 units a checkpoint are enough for about 48,000 recipients a second. The
// partition of held leases has one write for each lease that is taken and one
// for each that is let go: enough for 500 chunks a second.
package dynamo
