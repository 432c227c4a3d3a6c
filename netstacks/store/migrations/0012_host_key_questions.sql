-- Who approved the key that a device used to show, and when: for the question whether the new one may take its place.
-- `answered_by` is the name of the user that has answered, who need not be the one that was asked.
ALTER TABLE host_key_prompts
    ADD COLUMN previous_approved_by text,
    ADD COLUMN previous_approved_at timestamptz,
    ADD COLUMN answered_by text;
