package dynamo

import (
	"maps"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
)

// Attributes of a campaign that expressions name.
const (
	attrCampaignID = "campaign_id"
	attrReason     = "reason"
	attrNotice     = "notice"
	attrStartedAt  = "started_at"
	attrFinishedAt = "finished_at"
	attrRunning    = "running_since"
	attrExpiredAt  = "expired_at"
	attrSealed     = "smtp_password_sealed"
	attrDigest     = "create_digest"
	// attrRestarted is the stamp of the last Restart.
	attrRestarted = "restart_digest"
	// attrAudience holds the packed selection of a narrowed audience, and is
	// text in place of octets where the selection is kept as content.
	attrAudience = "audience"
)

func campaignKey(id string) item { return item{attrCampaignID: str(id)} }

// campaignItem gives a campaign's stored form without its audience.
func campaignItem(c campaign.Campaign) item {
	it := item{
		attrCampaignID: str(c.ID), "campaign_name": str(c.Name), attrStatus: str(string(c.Status)),
		"from_email": str(c.Letter.From.Address), "letter_sealed": bin(c.Letter.SealedHead),
		"body": refItem(c.Letter.HTML), "attachments": attachmentsItem(c.Letter.Attachments),
	}
	maps.Copy(it, relayItem(c.Relay))
	putStr(it, "from_name", c.Letter.From.Name)
	putStr(it, "source_vpce", c.SourceVPCE)
	putStr(it, "promise", string(c.Promise))
	putStr(it, attrReason, c.Reason)
	putStr(it, attrNotice, c.Notice)
	putWhen(it, "send_at", c.SendAt)
	putWhen(it, attrCreatedAt, c.CreatedAt)
	putWhen(it, attrUpdatedAt, c.UpdatedAt)
	putWhen(it, attrStartedAt, c.StartedAt)
	putWhen(it, attrFinishedAt, c.FinishedAt)
	putWhen(it, attrRunning, c.RunningSince)
	putWhen(it, attrExpiredAt, c.ExpiredAt)
	return it
}

// relayAttributes are all that relayItem may give.
var relayAttributes = [...]string{"smtp_server", "smtp_port", "smtp_use_tls", "smtp_default", "smtp_username", attrSealed}

func relayItem(r campaign.Relay) item {
	it := item{
		"smtp_server": str(r.Host), "smtp_port": num(r.Port),
		"smtp_use_tls": boolean(r.UseTLS), "smtp_default": boolean(r.Default),
	}
	putStr(it, "smtp_username", r.Username)
	if len(r.SealedPassword) > 0 {
		it[attrSealed] = bin(r.SealedPassword)
	}
	return it
}

// selection is the stored form of campaign.Selection, packed.
type selection struct {
	Tags      []string `json:"tags,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
}

func refItem(r campaign.ContentRef) types.AttributeValue {
	return &types.AttributeValueMemberM{Value: item{"digest": str(r.Digest), "size": num(r.Size)}}
}

func attachmentsItem(list []campaign.ContentRef) types.AttributeValue {
	values := make([]types.AttributeValue, len(list))
	for i, ref := range list {
		values[i] = &types.AttributeValueMemberM{Value: item{"content": refItem(ref)}}
	}
	return &types.AttributeValueMemberL{Value: values}
}

// campaignOf reads an item of the campaigns table, also one that another
// program wrote. The audience is the caller's to add.
func campaignOf(it item) campaign.Campaign {
	return campaign.Campaign{
		ID: text(it[attrCampaignID]), Name: text(it["campaign_name"]),
		Status: campaign.Status(text(it[attrStatus])), Reason: text(it[attrReason]), Notice: text(it[attrNotice]),
		Letter: letterOf(it), Relay: relayOf(it),
		Promise: campaign.Promise(text(it["promise"])), SendAt: moment(it["send_at"]),
		SourceVPCE: text(it["source_vpce"]),
		CreatedAt:  moment(it[attrCreatedAt]), UpdatedAt: moment(it[attrUpdatedAt]),
		StartedAt: moment(it[attrStartedAt]), FinishedAt: moment(it[attrFinishedAt]),
		RunningSince: moment(it[attrRunning]), ExpiredAt: moment(it[attrExpiredAt]),
		Log: chainOf(it, attrLog, attrLogHead),
	}
}

func letterOf(it item) campaign.Letter {
	l := campaign.Letter{
		From:       campaign.Mailbox{Name: text(it["from_name"]), Address: text(it["from_email"])},
		SealedHead: octets(it["letter_sealed"]),
		HTML:       refOf(it["body"]),
	}
	for _, e := range elements(it["attachments"]) {
		l.Attachments = append(l.Attachments, refOf(members(e)["content"]))
	}
	return l
}

func refOf(v types.AttributeValue) campaign.ContentRef {
	m := members(v)
	return campaign.ContentRef{Digest: text(m["digest"]), Size: integer(m["size"])}
}

func relayOf(it item) campaign.Relay {
	return campaign.Relay{
		Host: text(it["smtp_server"]), Port: int(integer(it["smtp_port"])), UseTLS: truth(it["smtp_use_tls"]),
		Username: text(it["smtp_username"]), SealedPassword: octets(it[attrSealed]), Default: truth(it["smtp_default"]),
	}
}
